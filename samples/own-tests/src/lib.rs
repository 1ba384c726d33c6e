//! A crate that uses processes: it counts words, one process a text.

use procession::{Process, Result};

/// The number of words of each text, each counted in a process of its own.
pub fn count_words(texts: &[&str]) -> Result<Vec<usize>> {
    let mut processes = Vec::new();
    for text in texts {
        processes.push(Process::spawn(words_of, text.to_string())?);
    }
    processes.into_iter().map(Process::join).collect()
}

fn words_of(text: String) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    // What starts no process is tested as ever.
    #[test]
    fn words_are_what_stands_between_spaces() {
        assert_eq!(super::words_of(" one  two\n".to_string()), 2);
    }
}
