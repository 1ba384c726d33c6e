//! What was found, by section.

use procession::shm::section::Section;
use std::fmt::Write;
use std::time::Duration;

/// What was found in one section.
#[derive(Clone, Default)]
pub struct Row {
    /// Instructions in one pass through each case.
    pub instructions: u64,
    /// How often they changed the arena.
    pub states: u64,
    pub killed: u64,
    pub stopped: u64,
    pub violations: u64,
    /// From each kill to the next success of another process, in nanoseconds.
    pub times: Vec<u64>,
}

/// What a case, or all of them, came to.
#[derive(Clone, Default)]
pub struct Report {
    rows: Vec<Row>,
    /// Victims that were shot asleep.
    pub asleep: u64,
    /// Stops after which the others did not go on soon.
    pub slow: u64,
}

impl Report {
    pub fn row(&mut self, section: Section) -> &mut Row {
        self.rows.resize(Section::ALL.len(), Row::default());
        &mut self.rows[section as usize]
    }

    pub fn stopped(&self) -> u64 {
        self.rows.iter().map(|row| row.stopped).sum()
    }

    pub fn violations(&self) -> u64 {
        self.rows.iter().map(|row| row.violations).sum()
    }

    /// As words in lines, for the process that started the controller.
    pub fn to_lines(&self) -> String {
        let mut lines = format!("{} {}\n", self.asleep, self.slow);
        for (index, row) in self.rows.iter().enumerate() {
            let counts = [
                index as u64,
                row.instructions,
                row.states,
                row.killed,
                row.stopped,
                row.violations,
            ];
            let words = counts.iter().chain(&row.times).map(u64::to_string);
            lines += &(words.collect::<Vec<_>>().join(" ") + "\n");
        }
        lines
    }

    /// Adds what [`to_lines`](Self::to_lines) wrote.
    pub fn add_lines(&mut self, lines: &str) -> Option<()> {
        let mut lines = lines.lines().map(|line| {
            let words = line.split(' ').map(|word| word.parse::<u64>().ok());
            words.collect::<Option<Vec<_>>>()
        });
        let [asleep, slow] = lines.next()??[..] else {
            return None;
        };
        self.asleep += asleep;
        self.slow += slow;
        for line in lines {
            let line = line?;
            let (&[index, instructions, states, killed, stopped, violations], times) =
                line.split_first_chunk::<6>()?;
            let row = self.row(*Section::ALL.get(index as usize)?);
            row.instructions += instructions;
            row.states += states;
            row.killed += killed;
            row.stopped += stopped;
            row.violations += violations;
            row.times.extend(times);
        }
        Some(())
    }

    /// The sections in which nobody was killed, or nobody stopped.
    pub fn unreached(&mut self) -> Vec<&'static str> {
        let all = Section::ALL.iter();
        let unreached = all.filter(|&&section| {
            let row = self.row(section);
            row.killed == 0 || row.stopped == 0
        });
        unreached.map(|section| section.name()).collect()
    }

    /// How many were shot where, and how long it took.
    pub fn summary(&self, took: Duration) -> String {
        let within: u64 = self.rows.iter().map(|row| row.killed + row.stopped).sum();
        let all = within + self.asleep;
        format!(
            "Of {all} that were shot {within} were within a section, which is {:.1} %, and {} asleep. It took {} s.\n",
            within as f64 * 100.0 / all.max(1) as f64,
            self.asleep,
            took.as_secs()
        )
    }

    /// The table, as Markdown.
    pub fn markdown(&mut self) -> String {
        let mut text = String::from(
            "| section | instructions | states | killed | stopped | violations | going on, p50 | p99 |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        let mut all = Row::default();
        for &section in Section::ALL {
            let row = self.row(section);
            all.instructions += row.instructions;
            all.states += row.states;
            all.killed += row.killed;
            all.stopped += row.stopped;
            all.violations += row.violations;
            all.times.extend(&row.times);
            line(&mut text, section.name(), row);
        }
        line(&mut text, "all", &mut all);
        text
    }
}

fn line(text: &mut String, name: &str, row: &mut Row) {
    row.times.sort_unstable();
    let at = |percent: usize| match row.times.len() {
        0 => "–".into(),
        len => {
            let time = row.times[(len * percent / 100).min(len - 1)];
            format!("{:.2} ms", time as f64 / 1e6)
        }
    };
    let Row {
        instructions,
        states,
        killed,
        stopped,
        violations,
        ..
    } = row;
    writeln!(
        text,
        "| {name} | {instructions} | {states} | {killed} | {stopped} | {violations} | {} | {} |",
        at(50),
        at(99)
    )
    .expect("a string takes all");
}
