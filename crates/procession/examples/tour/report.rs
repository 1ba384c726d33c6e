//! The report: one file to which all workers append, each while it holds the lock.

use std::env;
use std::fs;
use std::io::{self, Write};

use crate::similarity::Pair;

/// The report's file; it goes with this value unless somebody named a place for it.
pub struct Report {
    pub path: String,
    kept: bool,
}

impl Report {
    /// Make it, without a line yet.
    pub fn begin(place: Option<&str>) -> io::Result<Self> {
        let name = format!("procession-tour-{}", std::process::id());
        let unnamed = || env::temp_dir().join(name).to_string_lossy().into_owned();
        let path = place.map_or_else(unnamed, str::to_owned);
        fs::write(&path, "")?;
        Ok(Self {
            path,
            kept: place.is_some(),
        })
    }

    /// Whether it has one whole line for each pair, in any order, and no other.
    pub fn holds(&self, pairs: &[Pair]) -> io::Result<bool> {
        let text = fs::read_to_string(&self.path)?;
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let mut expected: Vec<_> = pairs.iter().map(line).collect();
        lines.sort();
        expected.sort();
        Ok(lines == expected)
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.kept {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// A pair as the report shows it.
pub fn line(pair: &Pair) -> String {
    format!(
        "{:6.1}%  {}  {}",
        100.0 * pair.similarity,
        pair.first,
        pair.second
    )
}

/// Add a line for each pair. The caller holds the lock; without it two workers' lines could mix.
pub fn append(path: &str, pairs: &[Pair]) -> io::Result<()> {
    let text: String = pairs.iter().map(|pair| line(pair) + "\n").collect();
    fs::OpenOptions::new()
        .append(true)
        .open(path)?
        .write_all(text.as_bytes())
}
