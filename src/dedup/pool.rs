//! Interned texts and values: each is kept once, records hold small numbers.

use std::hint::black_box;

use serde::{Deserialize, Serialize};

/// Entries that are looked up together: the waits for memory overlap.
const TOGETHER: usize = 32;

/// Open addressing over places; 0 is a free slot, else half of the hash and the place plus one.
#[derive(Clone, Debug, Default)]
struct Slots {
    slots: Vec<u64>,
    used: usize,
}

impl Slots {
    fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let tag = hash >> 32;
        let mut at = tag as usize & mask;
        loop {
            match self.slots.get(at) {
                Some(0) | None => return None,
                Some(slot) if slot >> 32 == tag && same(*slot as u32 - 1) => return Some(*slot as u32 - 1),
                Some(_) => at = (at + 1) & mask,
            }
        }
    }

    /// The place that the first slot of a hash names, if it may be the one: read ahead of [`Slots::find`].
    fn glimpse(&self, hash: u64) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let tag = hash >> 32;
        self.slots.get(tag as usize & mask).filter(|slot| **slot != 0 && **slot >> 32 == tag).map(|slot| *slot as u32 - 1)
    }

    fn put(&mut self, hash: u64, place: u32) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            let size = (self.slots.len() * 2).max(64);
            let old = std::mem::replace(&mut self.slots, vec![0; size]);
            old.into_iter().filter(|slot| *slot != 0).for_each(|slot| self.settle(slot));
        }
        self.used += 1;
        self.settle(hash & !0xffff_ffff | u64::from(place + 1));
    }

    fn settle(&mut self, entry: u64) {
        let mask = self.slots.len() - 1;
        let mut at = (entry >> 32) as usize & mask;
        while let Some(slot) = self.slots.get_mut(at) {
            if *slot == 0 {
                *slot = entry;
                return;
            }
            at = (at + 1) & mask;
        }
    }
}

/// Texts, each once. Number 0 is the empty text.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(from = "Plain", into = "Plain")]
pub(super) struct Words {
    text: String,
    ends: Vec<u32>,
    slots: Slots,
}

/// Texts in their order, without a way to look them up.
#[derive(Debug, Default)]
pub(super) struct Texts {
    text: String,
    ends: Vec<u32>,
}

#[derive(Deserialize, Serialize)]
struct Plain(Vec<String>);

impl From<Plain> for Words {
    fn from(plain: Plain) -> Self {
        let mut out = Self::default();
        for (number, word) in (1_u32..).zip(&plain.0) {
            // A stored list that names a text twice would shift all numbers after it.
            if out.add(word) != number {
                out.enter(word, spread(word));
            }
        }
        out
    }
}

impl From<Words> for Plain {
    fn from(words: Words) -> Self {
        Self((1..words.ends.len() as u32).map(|number| words.get(number).to_owned()).collect())
    }
}

impl Default for Words {
    fn default() -> Self {
        Self { text: String::new(), ends: vec![0], slots: Slots::default() }
    }
}

impl Words {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, number: u32) -> &str {
        let at = number as usize;
        let Some(end) = self.ends.get(at) else { return "" };
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.text.get(start as usize..*end as usize).unwrap_or("")
    }

    pub(super) fn add(&mut self, word: &str) -> u32 {
        if word.is_empty() {
            return 0;
        }
        self.add_coded(word, spread(word))
    }

    /// The texts from number `mark` on.
    pub(super) fn since(&self, mark: usize) -> Texts {
        let start = mark.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let text = self.text.get(start as usize..).unwrap_or("").to_owned();
        Texts { text, ends: self.ends.iter().skip(mark).map(|end| end - start).collect() }
    }

    /// Bytes of all texts.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Adds texts in their order; their numbers are put behind `numbers`.
    pub(super) fn add_texts(&mut self, texts: &Texts, numbers: &mut Vec<u32>) {
        numbers.reserve(texts.ends.len());
        let mut known: Vec<(&str, u64, Option<u32>)> = Vec::with_capacity(TOGETHER);
        let mut start = 0;
        for ends in texts.ends.chunks(TOGETHER) {
            known.clear();
            for end in ends {
                let word = texts.text.get(start as usize..*end as usize).unwrap_or("");
                start = *end;
                let code = spread(word);
                known.push((word, code, self.slots.glimpse(code)));
            }
            black_box(known.iter().fold(0_usize, |sum, (.., place)| sum ^ place.map_or(0, |place| self.get(place).len())));
            for (word, code, _) in &known {
                numbers.push(self.add_coded(word, *code));
            }
        }
    }

    fn add_coded(&mut self, word: &str, code: u64) -> u32 {
        if let Some(known) = self.slots.find(code, |place| self.get(place) == word) {
            return known;
        }
        self.enter(word, code)
    }

    /// Texts beyond 4 GiB in all count as missing: nothing is overwritten.
    fn enter(&mut self, word: &str, code: u64) -> u32 {
        let Ok(end) = u32::try_from(self.text.len() + word.len()) else { return 0 };
        let number = self.ends.len() as u32;
        self.text.push_str(word);
        self.ends.push(end);
        self.slots.put(code, number);
        number
    }
}

/// One normalised value: the numbers of its texts, in the order its kind says.
pub(super) type Value = [u32; 4];

/// Values of one kind, each once. Number 0 is "none".
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(from = "Vec<Value>", into = "Vec<Value>")]
pub(super) struct Values {
    items: Vec<Value>,
    slots: Slots,
}

impl Default for Values {
    fn default() -> Self {
        Self { items: vec![[0; 4]], slots: Slots::default() }
    }
}

impl From<Vec<Value>> for Values {
    fn from(items: Vec<Value>) -> Self {
        let mut out = Self { items: if items.is_empty() { vec![[0; 4]] } else { items }, slots: Slots::default() };
        let mut slots = Slots::default();
        for (place, value) in out.items.iter().enumerate().skip(1) {
            slots.put(code(value), place as u32);
        }
        out.slots = slots;
        out
    }
}

impl From<Values> for Vec<Value> {
    fn from(values: Values) -> Self {
        values.items
    }
}

impl Values {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn get(&self, number: u32) -> Value {
        self.items.get(number as usize).copied().unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.items.iter()
    }

    pub(super) fn add(&mut self, value: Value) -> u32 {
        if value == [0; 4] {
            return 0;
        }
        self.add_coded(value, code(&value))
    }

    /// Adds many in their order; their numbers are put behind `numbers`.
    pub(super) fn add_all(&mut self, values: &[Value], numbers: &mut Vec<u32>) {
        numbers.reserve(values.len());
        let mut known: Vec<(Value, u64, Option<u32>)> = Vec::with_capacity(TOGETHER);
        for some in values.chunks(TOGETHER) {
            known.clear();
            known.extend(some.iter().map(|value| (*value, code(value))).map(|(value, hash)| (value, hash, self.slots.glimpse(hash))));
            let first = |place: u32| self.get(place).first().copied().unwrap_or(0);
            black_box(known.iter().fold(0_u32, |sum, (.., place)| sum ^ place.map_or(0, first)));
            for (value, hash, _) in &known {
                numbers.push(if *value == [0; 4] { 0 } else { self.add_coded(*value, *hash) });
            }
        }
    }

    fn add_coded(&mut self, value: Value, hash: u64) -> u32 {
        if let Some(known) = self.slots.find(hash, |place| self.items.get(place as usize) == Some(&value)) {
            return known;
        }
        let number = self.items.len() as u32;
        self.items.push(value);
        self.slots.put(hash, number);
        number
    }
}

/// A hash of eight bytes at a time; it is never stored.
fn spread(word: &str) -> u64 {
    let mix = |state: u64, part: u64| {
        let wide = u128::from(state ^ part) * 0xf39c_c060_5ced_c835;
        (wide as u64) ^ (wide >> 64) as u64
    };
    let (parts, rest) = word.as_bytes().as_chunks::<8>();
    let state = parts.iter().fold(0x243f_6a88_85a3_08d3 ^ word.len() as u64, |state, part| mix(state, u64::from_le_bytes(*part)));
    let last = rest.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
    let state = mix(mix(state, last), 0x1319_8a2e_0370_7344);
    state ^ state << 32
}

fn code(value: &Value) -> u64 {
    let mixed = value
        .iter()
        .fold(0x9e37_79b9_7f4a_7c15_u64, |state, part| (state ^ u64::from(*part)).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29));
    mixed ^ mixed << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_values_are_kept_once() {
        let mut words = Words::default();
        let numbers: Vec<u32> = (0..1_000).map(|at| words.add(&format!("word{}", at % 300))).collect();
        assert_eq!(words.len(), 301);
        assert_eq!(numbers[5], numbers[305]);
        assert_eq!((words.get(numbers[7]), words.get(0), words.get(9_999)), ("word7", "", ""));
        let back: Words = serde_json::from_str(&serde_json::to_string(&words).unwrap()).unwrap();
        assert_eq!((back.len(), back.get(numbers[7])), (301, "word7"));

        let mut values = Values::default();
        assert_eq!(values.add([0; 4]), 0);
        assert_eq!((values.add([1, 2, 3, 4]), values.add([2, 2, 3, 4]), values.add([1, 2, 3, 4])), (1, 2, 1));
        let mut back: Values = serde_json::from_str(&serde_json::to_string(&values).unwrap()).unwrap();
        assert_eq!((back.add([2, 2, 3, 4]), back.len()), (2, 3));
    }
}
