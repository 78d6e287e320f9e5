//! The levels of agreement, and what each is worth.

macro_rules! levels {
    ($($variant:ident $key:literal $field:literal $says:literal $person:literal $company:literal $rarity:literal;)+) => {
        /// How far two records agree in one field. Its word is `field.level`.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Level {
            $(#[doc = $says] $variant,)+
        }

        impl Level {
            /// Every level.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its stable word, e.g. `name.exact`: the key in [`Weights`](crate::dedup::Weights).
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $key),+ }
            }

            /// The field it speaks of, e.g. `name`.
            pub fn field(self) -> &'static str {
                match self { $(Self::$variant => $field),+ }
            }

            /// In words, for people.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $says),+ }
            }

            pub(super) fn defaults(self) -> (f32, f32, f32) {
                match self { $(Self::$variant => ($person, $company, $rarity)),+ }
            }
        }
    };
}

// Base weights in bits between persons, base weights between companies, and the share of the value's rarity that is added.
levels! {
    NameExact "name.exact" "name" "same first and last name" -1.0 0.0 0.8;
    NameSwapped "name.swapped" "name" "first and last name swapped" -1.0 0.0 0.8;
    NameNickname "name.nickname" "name" "same last name, first name is a nickname" 3.0 0.0 0.8;
    NameFirstClose "name.first_close" "name" "same last name, similar first name" 3.0 0.0 0.8;
    NameLastClose "name.last_close" "name" "same first name, similar last name" 4.5 0.0 0.8;
    NameInitial "name.initial" "name" "same last name, first name agrees in its initial" 1.0 0.0 0.8;
    NameBothClose "name.both_close" "name" "similar first and last name" 6.0 0.0 0.0;
    NameSwappedClose "name.swapped_close" "name" "similar names, swapped" 8.0 0.0 0.0;
    NameDoubleSurname "name.double_surname" "name" "same first name, one part of a double surname" 4.0 0.0 0.8;
    NameFirstMissing "name.first_missing" "name" "same last name, a first name is missing" -1.0 0.0 0.8;
    NameLastMissing "name.last_missing" "name" "same first name, a last name is missing" -2.0 0.0 0.8;
    NameLastOnly "name.last_only" "name" "same last name, other first name" -9.0 0.0 0.2;
    NameFirstOnly "name.first_only" "name" "same first name, other last name" -6.0 0.0 0.2;
    NameElse "name.else" "name" "other name" -10.0 0.0 0.0;
    GenerationElse "generation.else" "generation" "junior and senior" -15.0 0.0 0.0;
    EmailExact "email.exact" "email" "same e-mail address" 1.0 2.0 1.0;
    EmailTypo "email.typo" "email" "e-mail address differs by one typing error" 0.0 0.0 0.9;
    EmailUser "email.user" "email" "same e-mail user at another domain" -1.0 0.0 0.6;
    EmailUserClose "email.user_close" "email" "similar e-mail user at the same domain" 0.0 0.0 0.0;
    EmailName "email.name" "email" "e-mail users made of the same name" 0.0 0.0 0.0;
    EmailSameDomain "email.same_domain" "email" "other e-mail user at the same company domain" -5.0 0.0 0.0;
    EmailFreeWork "email.free_work" "email" "a private and a work e-mail address" -1.0 0.0 0.0;
    EmailRole "email.role" "email" "an inbox that belongs to a company" 0.0 3.0 0.0;
    EmailElse "email.else" "email" "other e-mail address" -3.0 -1.0 0.0;
    PhoneExact "phone.exact" "phone" "same telephone number" -1.0 4.0 0.9;
    PhoneSuffix "phone.suffix" "phone" "same national number, calling code differs or number is longer" -1.0 2.0 0.6;
    PhoneExtension "phone.extension" "phone" "same number, other extension" 0.0 3.0 0.0;
    PhoneOneDigit "phone.one_digit" "phone" "telephone number differs in one digit" 2.0 2.0 0.2;
    PhoneElse "phone.else" "phone" "other telephone number" -1.5 -1.5 0.0;
    CompanyExact "company.exact" "company" "same company" 0.0 5.5 0.6;
    CompanyForm "company.form" "company" "same company name, other legal form" 0.0 1.0 0.6;
    CompanyStem "company.stem" "company" "same brand, other branch" -0.5 -12.0 0.5;
    CompanyClose "company.close" "company" "company name differs by spelling" 0.0 4.0 0.6;
    CompanyAcronym "company.acronym" "company" "company name is an acronym of the other" 1.0 2.0 0.3;
    CompanyFuzzy "company.fuzzy" "company" "similar company name" 0.0 1.0 0.3;
    CompanyElse "company.else" "company" "other company" -3.0 -7.0 0.0;
    DomainExact "domain.exact" "domain" "same company domain" 0.0 1.5 0.6;
    DomainClose "domain.close" "domain" "similar company domain" 0.0 0.0 0.3;
    DomainElse "domain.else" "domain" "other company domain" -1.5 -8.0 0.0;
    TitleExact "title.exact" "title" "same title" 1.0 0.0 0.15;
    TitleClose "title.close" "title" "similar title" 0.5 0.0 0.0;
    TitleElse "title.else" "title" "other title" -0.5 0.0 0.0;
    StreetExact "street.exact" "street" "same street and number" 0.0 1.0 0.5;
    StreetClose "street.close" "street" "similar street" 0.0 1.0 0.4;
    StreetNumber "street.number" "street" "same street, other number" 0.0 -1.0 0.3;
    StreetElse "street.else" "street" "other street" -1.0 -2.0 0.0;
    PostalExact "postal.exact" "postal_code" "same postal code" -0.5 0.0 0.4;
    PostalClose "postal.close" "postal_code" "postal code differs in one character" 1.5 1.0 0.0;
    PostalArea "postal.area" "postal_code" "same postal area" 0.0 0.0 0.0;
    PostalElse "postal.else" "postal_code" "other postal code" -0.8 -1.5 0.0;
    CityExact "city.exact" "city" "same city" 0.0 0.0 0.3;
    CityClose "city.close" "city" "similar city" 0.3 0.3 0.0;
    CityElse "city.else" "city" "other city" -0.7 -1.5 0.0;
    RegionExact "region.exact" "region" "same region" 0.3 0.3 0.0;
    RegionElse "region.else" "region" "other region" -0.7 -0.7 0.0;
    CountryExact "country.exact" "country" "same country" 0.3 3.0 0.0;
    CountryElse "country.else" "country" "other country" -4.0 -12.0 0.0;
    BirthExact "birth_date.exact" "birth_date" "same date of birth" 1.0 0.0 0.8;
    BirthClose "birth_date.close" "birth_date" "date of birth differs by one typing error" 5.0 0.0 0.0;
    BirthYear "birth_date.year" "birth_date" "same year of birth" 0.5 0.0 0.0;
    BirthNear "birth_date.near" "birth_date" "years of birth at most ten apart" -2.5 0.0 0.0;
    BirthElse "birth_date.else" "birth_date" "other date of birth" -4.0 0.0 0.0;
    IdentifierExact "identifier.exact" "identifier" "same identifier" 4.0 4.0 1.0;
    IdentifierClose "identifier.close" "identifier" "identifier differs by one typing error" 7.0 5.0 0.0;
    IdentifierElse "identifier.else" "identifier" "other identifier" -4.0 -6.0 0.0;
    GenderExact "gender.exact" "gender" "same gender" 0.3 0.0 0.0;
    GenderElse "gender.else" "gender" "other gender" -1.5 0.0 0.0;
    OtherExact "other.exact" "other" "same in another field" 0.0 2.0 0.3;
    OtherElse "other.else" "other" "differs in another field" -0.7 -0.5 0.0;
}

impl Level {
    pub(super) fn is_office(self) -> bool {
        (Self::CompanyExact..=Self::DomainElse).contains(&self) || (Self::StreetExact..=Self::CityElse).contains(&self)
    }

    /// Whether finding it out for sure takes comparing the address with the names.
    pub(super) fn is_mail_guess(self) -> bool {
        matches!(self, Self::EmailUser | Self::EmailName | Self::EmailSameDomain | Self::EmailFreeWork | Self::EmailElse)
    }

    /// Whether the rarity of the value is part of the weight.
    pub(super) fn has_rarity(self) -> bool {
        self.defaults().2 > 0.0
    }

    /// The share of the value's rarity in a set without employers; all of it would be too much, for errors come together.
    pub(super) fn private_rarity(self) -> f32 {
        if self.is_exact() {
            0.8
        } else if self.field() == "name" && self.has_rarity() {
            0.4
        } else {
            0.0
        }
    }

    /// Whether strangers reach it as often as the value is common.
    pub(super) fn is_exact(self) -> bool {
        self.has_rarity() && (matches!(self, Self::NameSwapped) || self.as_str().ends_with(".exact"))
    }

    pub(super) fn is_place_or_title(self) -> bool {
        (Self::TitleExact..=Self::CityElse).contains(&self)
    }
}

/// Who is compared: what a level is worth differs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Population {
    Person,
    Company,
    /// Persons of a set without employers.
    Private,
}

impl Population {
    pub(super) const ALL: [Self; 3] = [Self::Person, Self::Company, Self::Private];
}
