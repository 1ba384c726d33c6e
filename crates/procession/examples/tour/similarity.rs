//! How alike two texts are, and which texts are worth comparing.
//!
//! A text becomes the set of its *shingles*: the hashes of all runs of [`SHINGLE`] words. Two
//! texts are as alike as their sets overlap (Jaccard: shared by all). To compare every text with
//! every other would be quadratic; so each gets a *sketch*, and only those whose sketches meet are
//! compared.
//!
//! The sketch is MinHash with one permutation (Li, Owen and Zhang, 2012): the shingles are dealt
//! into [`SLOTS`] slots, the least of each is kept, and an empty slot borrows from its right
//! neighbour. Two slots are equal about as often as the texts are alike. Each [`BAND`] of slots is
//! hashed into one key, under which texts meet; those that are 60 % alike do so under
//! [`MEETINGS`] of the 80 keys in all but 2 of 10,000 cases.
//!
//! The twin in Python (`procession/tour/similarity.py`) finds the same pairs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::crc32::crc32;

pub const SHINGLE: usize = 6;
const SLOTS: usize = 320;
const BAND: usize = 4;
const MEETINGS: usize = 2;

/// Texts with fewer shingles are too short to say that one is like another.
const FEWEST: usize = 16;

/// From here on two texts are near duplicates.
pub const ALIKE: f64 = 0.6;

/// Of many texts with the same key each is compared with so many that follow, not with all.
const NEIGHBOURS: usize = 200;

/// The keys of one file, one for each band; none if its text is too short.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sketch {
    pub path: String,
    pub keys: Vec<u32>,
}

/// Two files, the first by path first, and how alike they are: from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    pub first: String,
    pub second: String,
    pub similarity: f64,
}

/// The hashes of all runs of `SHINGLE` words.
pub fn shingles(text: &[u8]) -> HashSet<u32> {
    words(text)
        .windows(SHINGLE)
        .map(|run| crc32(&run.join(&b' ')))
        .collect()
}

/// The words of a text: names, numbers and single signs.
fn words(text: &[u8]) -> Vec<&[u8]> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    text.chunk_by(|left, right| is_name(left) && is_name(right))
        .filter(|word| !is_space(&word[0]))
        .collect()
}

/// The keys under which a text with these shingles meets those that are like it.
pub fn keys(hashes: &HashSet<u32>) -> Vec<u32> {
    if hashes.len() < FEWEST {
        return Vec::new();
    }
    let mut slots = [None; SLOTS];
    for &value in hashes {
        let slot = &mut slots[value as usize % SLOTS];
        *slot = Some(slot.map_or(value, |least: u32| least.min(value)));
    }
    // Twice around: the last slot's neighbour is the first.
    for place in (0..2 * SLOTS).rev() {
        slots[place % SLOTS] = slots[place % SLOTS].or(slots[(place + 1) % SLOTS]);
    }
    let bands = slots.chunks(BAND).enumerate();
    bands
        .map(|(band, slots)| {
            let start = (band * BAND) as u32;
            let values = slots
                .iter()
                .map(|slot| slot.expect("each slot has borrowed"));
            crc32(
                &[start]
                    .into_iter()
                    .chain(values)
                    .flat_map(u32::to_le_bytes)
                    .collect::<Vec<_>>(),
            )
        })
        .collect()
}

/// The pairs of files that meet often enough, by path.
pub fn candidates(sketches: &[Sketch]) -> BTreeSet<(String, String)> {
    let mut meeting = Vec::new();
    for Sketch { path, keys } in sketches {
        meeting.extend(keys.iter().map(|&key| (key, path.as_str())));
    }
    meeting.sort_unstable();
    let mut meetings: HashMap<(&str, &str), usize> = HashMap::new();
    for paths in meeting.chunk_by(|left, right| left.0 == right.0) {
        for (index, (_, first)) in paths.iter().enumerate() {
            for (_, second) in paths[index + 1..].iter().take(NEIGHBOURS) {
                *meetings.entry((first, second)).or_default() += 1;
            }
        }
    }
    let often = meetings.into_iter().filter(|&(_, times)| times >= MEETINGS);
    often
        .map(|((first, second), _)| (first.to_owned(), second.to_owned()))
        .collect()
}

/// The shingles that both have, as a share of all that either has.
pub fn similarity(first: &HashSet<u32>, second: &HashSet<u32>) -> f64 {
    let shared = first.intersection(second).count();
    let every = first.len() + second.len() - shared;
    if every == 0 {
        0.0
    } else {
        shared as f64 / every as f64
    }
}

/// The pairs sorted into families: two that have a file in common are in the same one.
pub fn families(pairs: &BTreeSet<(String, String)>) -> Vec<Vec<(String, String)>> {
    let mut parent = HashMap::new();
    for (first, second) in pairs {
        let (elder, younger) = (eldest(&mut parent, first), eldest(&mut parent, second));
        if elder != younger {
            parent.insert(younger, elder);
        }
    }
    let mut families: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    for pair in pairs {
        let family = families.entry(eldest(&mut parent, &pair.0));
        family.or_default().push(pair.clone());
    }
    families.into_values().collect()
}

/// Who stands at the top of a path's line of parents; halves that line on the way.
fn eldest<'a>(parent: &mut HashMap<&'a str, &'a str>, mut path: &'a str) -> &'a str {
    while let Some(&next) = parent.get(path) {
        if let Some(&beyond) = parent.get(next) {
            parent.insert(path, beyond);
        }
        path = next;
    }
    path
}
