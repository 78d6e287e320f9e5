//! What was found, to look at: one HTML page without outside parts.

use std::fmt::Write as _;

use super::find::{Duplicates, Likely};
use super::records::{Kind, Records};
use super::score::{Deduper, Match};

/// Pairs and groups that are shown in full: the least sure ones, where a look pays.
const SHOWN: usize = 60;
/// Bars of the histogram.
const BARS: usize = 25;

const HEAD: &str = concat!(
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">",
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>Duplicates</title>",
    "<style>:root{color-scheme:light dark}body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem}",
    "h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem}table{border-collapse:collapse;width:100%}",
    "td,th{padding:.2rem .5rem;text-align:left;vertical-align:top}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}",
    "dl{display:flex;flex-wrap:wrap;gap:.3rem 2rem}dt{opacity:.7}dd{margin:0;font-size:1.3rem}",
    "details{border:1px solid #8886;border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}summary{cursor:pointer}",
    ".lane{position:relative;height:1rem;min-width:14rem}.lane i{position:absolute;height:100%;border-radius:2px}",
    ".lane b{position:absolute;left:50%;height:100%;border-left:1px solid #888}.up{background:#2a8f5a}.down{background:#c2453d}.from{background:#777}",
    "svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:currentColor}.bar{fill:#4a7fb5}.mark{stroke:#c2453d;stroke-width:2}</style></head><body>",
);

impl Duplicates {
    /// One self-contained HTML page: the numbers of the run, a histogram of the scores with both thresholds, the groups, and for
    /// the least sure pairs the evidence field by field, each with its bar. It loads nothing and runs no script; all values are
    /// escaped. `name` is how a record is called (its id).
    ///
    /// It holds personal data; [`Duplicates::report_masked`] leaves the values out.
    pub fn report(&self, deduper: &Deduper, records: &Records, name: &dyn Fn(u32) -> String) -> String {
        self.page(deduper, records, name, true)
    }

    /// The same page without any field value.
    pub fn report_masked(&self, deduper: &Deduper, records: &Records, name: &dyn Fn(u32) -> String) -> String {
        self.page(deduper, records, name, false)
    }

    fn page(&self, deduper: &Deduper, records: &Records, name: &dyn Fn(u32) -> String, values: bool) -> String {
        let mut out = String::from(HEAD);
        out.push_str("<h1>Duplicates</h1><dl>");
        let config = deduper.config();
        for (what, number) in [
            ("records", records.len() as u64),
            ("pairs compared", self.candidates),
            ("duplicate pairs", self.pairs.len() as u64),
            ("groups", self.groups.len() as u64),
            ("to review", self.review.len() as u64),
            ("places in blocks too large", self.cut),
        ] {
            // Writing to a string does not fail.
            let _ = write!(out, "<div><dt>{what}</dt><dd>{number}</dd></div>");
        }
        out.push_str("</dl><h2>Scores</h2>");
        self.histogram(&mut out, config.threshold, config.review);
        sizes(&mut out, &self.groups);
        let sections = [
            ("Least sure duplicates", least(&self.pairs, false), "id=\"pairs\""),
            ("To review: likely, but not put together", least(&self.review, true), "id=\"review\""),
        ];
        for (title, pairs, id) in sections {
            let _ = write!(out, "<section {id}><h2>{title}</h2>");
            if pairs.is_empty() {
                out.push_str("<p>none</p>");
            }
            for pair in pairs {
                let why = self.explain(deduper, records, pair.a, pair.b);
                waterfall(&mut out, records, &pair, &why, name, values);
            }
            out.push_str("</section>");
        }
        out.push_str("<section id=\"groups\"><h2>Largest groups</h2>");
        let mut groups: Vec<&Vec<u32>> = self.groups.iter().collect();
        groups.sort_by_key(|group| (std::cmp::Reverse(group.len()), group.first().copied()));
        for group in groups.into_iter().take(SHOWN) {
            let first = group.first().map_or_else(String::new, |at| name(*at));
            let _ = write!(out, "<details class=\"group\"><summary>{} · {} records</summary><table>", escape(&first), group.len());
            for at in group.iter().take(200) {
                let _ = write!(out, "<tr><td>{}</td>", escape(&name(*at)));
                if values {
                    let _ = write!(out, "<td>{}</td>", escape(&told(records, *at)));
                }
                out.push_str("</tr>");
            }
            out.push_str("</table></details>");
        }
        out.push_str("</section></body></html>\n");
        out
    }

    fn histogram(&self, out: &mut String, threshold: f64, review: f64) {
        let bits = |score: f64| super::score::logit(score).clamp(-12.0, 12.0);
        let mut bars = [0_u64; BARS];
        for pair in self.pairs.iter().chain(&self.review) {
            let at = ((bits(pair.score) + 12.0) / 24.0 * BARS as f64) as usize;
            if let Some(bar) = bars.get_mut(at.min(BARS - 1)) {
                *bar += 1;
            }
        }
        let top = bars.iter().copied().max().unwrap_or(0).max(1) as f64;
        out.push_str("<svg id=\"scores\" viewBox=\"0 0 760 210\" role=\"img\" aria-label=\"Histogram of scores\">");
        for (at, count) in bars.iter().enumerate() {
            // Square root: a few doubtful pairs stay visible beside thousands of sure ones.
            let height = (*count as f64 / top).sqrt() * 160.0;
            let _ = write!(
                out,
                "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"27\" height=\"{height:.1}\"><title>{count} pairs</title></rect>",
                10.0 + at as f64 * 29.6,
                175.0 - height
            );
        }
        for (what, line) in [("same", threshold), ("review", review)] {
            let x = 10.0 + (bits(line) + 12.0) / 24.0 * 740.0;
            let (y, text) = if what == "same" { (12, 22.0) } else { (26, 36.0) };
            let _ = write!(
                out,
                "<line class=\"mark\" x1=\"{x:.1}\" y1=\"{y}\" x2=\"{x:.1}\" y2=\"175\"/><text x=\"{:.1}\" y=\"{text}\">{what} from {line}</text>",
                x + 5.0
            );
        }
        for tick in [-12, -6, 0, 6, 12] {
            let _ = write!(
                out,
                "<text x=\"{:.0}\" y=\"195\" text-anchor=\"middle\">{tick:+}</text>",
                10.0 + f64::from(tick + 12) / 24.0 * 740.0
            );
        }
        out.push_str("<text x=\"380\" y=\"208\" text-anchor=\"middle\">bits of evidence (0 is one in two)</text></svg>");
    }
}

fn sizes(out: &mut String, groups: &[Vec<u32>]) {
    let mut counts = std::collections::BTreeMap::new();
    for group in groups {
        *counts.entry(group.len()).or_insert(0_u64) += 1;
    }
    out.push_str("<h2>Group sizes</h2><table><tr><th class=\"n\">records</th><th class=\"n\">groups</th></tr>");
    for (size, count) in counts {
        let _ = write!(out, "<tr><td class=\"n\">{size}</td><td class=\"n\">{count}</td></tr>");
    }
    out.push_str("</table>");
}

fn least(pairs: &[Likely], most: bool) -> Vec<Likely> {
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|x, y| if most { y.score.total_cmp(&x.score) } else { x.score.total_cmp(&y.score) }.then((x.a, x.b).cmp(&(y.a, y.b))));
    sorted.truncate(SHOWN);
    sorted
}

/// Each piece of evidence moves the sum; the bar shows from where to where.
fn waterfall(out: &mut String, records: &Records, pair: &Likely, why: &Match, name: &dyn Fn(u32) -> String, values: bool) {
    let (left, right) = (name(pair.a), name(pair.b));
    let _ = write!(out, "<details class=\"pair\"><summary>{} = {} · {:.1} %</summary>", escape(&left), escape(&right), why.score * 100.0);
    if values {
        let _ = write!(out, "<p>{}<br>{}</p>", escape(&told(records, pair.a)), escape(&told(records, pair.b)));
    }
    out.push_str("<table class=\"waterfall\"><tr><th>evidence</th><th class=\"n\">bits</th><th class=\"n\">sum</th><th></th></tr>");
    let mut steps: Vec<_> = why.reasons.iter().filter(|reason| reason.level != "hit").collect();
    // The sum starts from the odds of two records picked blindly.
    steps.sort_by_key(|reason| reason.rule != "prior");
    let mut sum = 0.0_f64;
    let widest = {
        let mut at = 0.0_f64;
        steps
            .iter()
            .map(|reason| {
                at += reason.weight;
                at.abs()
            })
            .fold(20.0, f64::max)
    };
    for reason in steps {
        let (from, to) = (sum, sum + reason.weight);
        sum = to;
        let class = if reason.rule == "prior" {
            "from"
        } else if reason.weight < 0.0 {
            "down"
        } else {
            "up"
        };
        let place = |bits: f64| 50.0 + bits / widest * 50.0;
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{:+.1}</td><td class=\"n\">{sum:+.1}</td><td><div class=\"lane\"><b></b><i class=\"{class}\" style=\"left:{:.1}%;width:{:.1}%\"></i></div></td></tr>",
            escape(&reason.text),
            reason.weight,
            place(from.min(to)),
            (place(from.max(to)) - place(from.min(to))).max(0.3)
        );
    }
    out.push_str("</table></details>");
}

/// The normalised values of a record in one line.
fn told(records: &Records, number: u32) -> String {
    let row = records.row(number);
    let mut parts = Vec::new();
    for kind in Kind::ALL {
        for value in records.all(&row, kind) {
            let text = match kind {
                Kind::Company => [records.text(kind, value, 0), records.text(kind, value, 3)].join(" ").trim().to_owned(),
                Kind::Street => [records.text(kind, value, 0), records.text(kind, value, 1)].join(" ").trim().to_owned(),
                _ => records.text(kind, value, 0).to_owned(),
            };
            if !text.is_empty() {
                parts.push(text);
            }
        }
    }
    parts.join(" · ")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Neither direction marks nor control characters reach the page.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\0'..='\u{8}' | '\u{b}'..='\u{1f}' => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::{DedupConfig, InPlace, Prepared, Role};

    #[test]
    fn the_page_is_whole_escaped_and_masked_on_request() {
        let mut records = Records::new();
        for mail in ["ann.keller@firm.com", "Ann.Keller+x@firm.com", "bob@firm.com"] {
            records.push(&Prepared::new(&[(Role::First, "Ann"), (Role::Last, "Keller"), (Role::Email, mail), (Role::Title, "東京 CEO")]));
        }
        let deduper = Deduper::new(DedupConfig::default()).unwrap();
        let found = deduper.find(&records, &InPlace);
        assert_eq!(found.groups, [[0, 1]]);
        let page = found.report(&deduper, &records, &|at| format!("<img src=x{at}>"));
        assert!(page.contains("&lt;img src=x0&gt;") && !page.contains("<img"));
        assert!(page.contains("ann.keller@firm.com") && page.contains("class=\"waterfall\"") && page.contains("id=\"scores\""));
        // The lines of the histogram stand where the thresholds are: 0.85 is 2.5 bits, of -12 to 12 on 740 points.
        assert!(page.contains("<line class=\"mark\" x1=\"457.2\" y1=\"12\"") && page.contains(">same from 0.85<"));
        assert!(page.contains(&format!(">review from {}<", deduper.config().review)));
        assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
        let masked = found.report_masked(&deduper, &records, &|at| at.to_string());
        assert!(!masked.contains("keller") && masked.contains("class=\"waterfall\""));
    }
}
