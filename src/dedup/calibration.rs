//! The shares at which the built-in weights were set: training moves a weight by how far the host's records differ from these.

use super::level::{Level, Population};

/// How often a level is seen where its field is there on both sides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual {
    /// Among pairs that are one.
    pub(super) same: f64,
    /// Among strangers.
    pub(super) different: f64,
}

/// Errors come together: several agreements say a little less than their product.
const TOGETHER: f64 = 0.85;
/// What a level can be worth without the rarity of its value, in bits.
const BOUND: f64 = 12.0;

/// The base weight that follows from shares, where agreements say about as much together as apart; `rarity` is what the
/// rarity of the values added on average.
pub(super) fn base(level: Level, usual: Usual, rarity: f64) -> f64 {
    let same = usual.same.max(1e-3).log2();
    if level.is_exact() {
        return same;
    }
    let bits = same - usual.different.max(1e-5).log2();
    (if bits > 0.0 { bits * TOGETHER } else { bits }).clamp(-BOUND, BOUND) - rarity
}

pub(super) fn private_base(level: Level) -> f32 {
    let typical = if level.private_rarity() > 0.0 { f64::from(level.private_rarity()) * 9.5 } else { 0.0 };
    match usual(level, Population::Private) {
        Some(usual) => base(level, usual, typical) as f32,
        None => level.defaults().0,
    }
}

/// Measured on labelled people of CRMs, companies, and people without employers, as far as the level occurs there.
pub(super) fn usual(level: Level, population: Population) -> Option<Usual> {
    let [person, company, private] = shares(level);
    match population {
        Population::Person => person,
        Population::Company => company,
        Population::Private => private,
    }
}

fn shares(level: Level) -> [Option<Usual>; 3] {
    let of = |same: f64, different: f64| Some(Usual { same, different });
    match level {
        Level::NameExact => [of(0.563, 0.0001), None, of(0.367, 0.000322)],
        Level::NameSwapped => [of(0.0327, 1e-05), None, of(0.0133, 7.4e-05)],
        Level::NameNickname => [of(0.0539, 1e-05), None, of(0.115, 0.0001)],
        Level::NameFirstClose => [of(0.103, 0.0001), None, of(0.088, 0.000141)],
        Level::NameLastClose => [of(0.0893, 1e-05), None, of(0.119, 0.00015)],
        Level::NameInitial => [of(0.076, 1e-05), None, of(0.0085, 1e-05)],
        Level::NameBothClose => [of(0.0294, 1e-05), None, of(0.036, 0.000141)],
        Level::NameSwappedClose => [of(0.0185, 1e-05), None, of(0.00715, 7.4e-05)],
        Level::NameDoubleSurname => [of(0.0049, 1e-05), None, of(0.00231, 4.64e-05)],
        Level::NameFirstMissing => [of(0.0014, 0.0001), None, of(0.0482, 0.000346)],
        Level::NameLastMissing => [None, None, of(0.0226, 0.000336)],
        Level::NameLastOnly => [of(0.0119, 0.002), None, of(0.101, 0.00253)],
        Level::NameFirstOnly => [of(0.0071, 0.0012), None, of(0.0584, 0.0497)],
        Level::NameElse => [of(0.0124, 0.997), None, of(0.0503, 0.924)],
        Level::EmailExact => [of(0.586, 0.0001), None, None],
        Level::EmailTypo => [of(0.0563, 0.0001), None, None],
        Level::EmailUser => [of(0.0098, 0.0001), None, None],
        Level::EmailName => [of(0.24, 0.0007), None, None],
        Level::EmailSameDomain => [of(0.0013, 0.0012), None, None],
        Level::EmailFreeWork => [of(0.0565, 0.398), None, None],
        Level::EmailRole => [of(0.0426, 0.0615), None, None],
        Level::EmailElse => [of(0.0052, 0.539), None, None],
        Level::PhoneExact => [of(0.544, 0.0003), of(0.879, 0.0008), None],
        Level::PhoneSuffix => [of(0.0048, 0.0001), None, None],
        Level::PhoneExtension => [of(0.0042, 0.0001), None, None],
        Level::PhoneOneDigit => [of(0.019, 0.0001), None, None],
        Level::PhoneElse => [of(0.41, 0.999), None, None],
        Level::CompanyExact => [of(0.732, 0.0023), of(0.753, 0.0006), None],
        Level::CompanyForm => [of(0.0389, 0.0002), of(0.0284, 0.0002), None],
        Level::CompanyStem => [of(0.0315, 0.0004), of(0.0206, 0.0004), None],
        Level::CompanyClose => [of(0.13, 0.0005), of(0.115, 0.0002), None],
        Level::CompanyAcronym => [of(0.0072, 0.0001), of(0.0118, 0.0002), None],
        Level::CompanyFuzzy => [of(0.0221, 0.0018), of(0.0255, 0.0018), None],
        Level::CompanyElse => [of(0.034, 0.995), of(0.0284, 0.996), None],
        Level::DomainExact => [of(0.818, 0.0008), of(0.91, 0.0007), None],
        Level::DomainClose => [of(0.0342, 0.0001), None, None],
        Level::DomainElse => [of(0.1, 0.999), None, None],
        Level::TitleExact => [of(0.826, 0.0421), None, of(0.855, 0.0385)],
        Level::TitleClose => [None, None, of(0.0061, 0.0015)],
        Level::TitleElse => [of(0.155, 0.957), None, of(0.138, 0.959)],
        Level::StreetExact => [of(0.663, 0.0017), of(0.677, 0.0007), of(0.494, 0.000482)],
        Level::StreetClose => [of(0.198, 0.0008), of(0.175, 0.0007), of(0.273, 0.000229)],
        Level::StreetNumber => [of(0.0111, 0.0007), None, of(0.0548, 0.000464)],
        Level::StreetElse => [of(0.0698, 0.995), of(0.0523, 0.996), of(0.142, 0.998)],
        Level::PostalExact => [of(0.818, 0.0017), of(0.852, 0.0009), of(0.708, 0.000984)],
        Level::PostalClose => [of(0.0888, 0.0006), None, of(0.161, 0.00394)],
        Level::PostalArea => [None, None, of(0.111, 0.0032)],
        Level::PostalElse => [of(0.0481, 0.996), of(0.0386, 0.995), of(0.0468, 0.987)],
        Level::CityExact => [of(0.785, 0.002), of(0.852, 0.0012), of(0.711, 0.00192)],
        Level::CityClose => [of(0.124, 0.0009), None, of(0.0963, 0.000608)],
        Level::CityElse => [of(0.046, 0.996), of(0.0386, 0.995), of(0.096, 0.996)],
        Level::RegionExact => [None, None, of(0.909, 0.223)],
        Level::RegionElse => [None, None, of(0.05, 0.775)],
        Level::CountryExact => [of(0.984, 0.23), of(0.916, 0.237), None],
        Level::BirthExact => [None, None, of(0.761, 0.000863)],
        Level::BirthClose => [None, None, of(0.0549, 0.0022)],
        Level::BirthYear => [None, None, of(0.00781, 0.0129)],
        Level::BirthNear => [None, None, of(0.0173, 0.207)],
        Level::BirthElse => [None, None, of(0.0389, 0.769)],
        Level::IdentifierExact => [None, of(0.481, 0.0038), of(0.837, 0.000519)],
        Level::IdentifierClose => [None, None, of(0.0693, 0.000144)],
        Level::IdentifierElse => [None, None, of(0.0582, 0.998)],
        Level::GenderExact => [None, None, of(0.913, 0.724)],
        Level::GenderElse => [None, None, of(0.0862, 0.276)],
        Level::OtherExact => [None, of(0.816, 0.0319), of(0.802, 0.00153)],
        Level::OtherElse => [None, None, of(0.142, 0.997)],
        _ => [None, None, None],
    }
}
