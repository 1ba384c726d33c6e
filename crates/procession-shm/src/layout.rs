//! Where things are in the arena.
//!
//! ```text
//! 0          header: words that exist once
//! classes    hints of the heap, one row a size class
//! threads    thread slots, 256 bytes each
//! processes  process records, 256 bytes each
//! spans      one word a span of 64 KiB: its size class
//! tags       one word a granule of 64 bytes: who owns the block that starts there
//! heap       the spans
//! ```
//!
//! All tables are sparse: a page costs memory when it is first written.

use crate::class;
use crate::world::{Off, Owner};

/// Version of everything that this crate lays out in memory.
pub const VERSION: u64 = 1;
/// Bytes of a granule, the unit in which blocks are named.
pub const GRANULE: u64 = 64;
/// Bytes of a span, the unit in which the heap grows.
pub const SPAN: u64 = 1 << 16;
/// Bytes of a thread slot.
pub const THREAD_BYTES: u64 = 256;
/// Bytes of a process record.
pub const PROCESS_BYTES: u64 = 256;

/// Words of the header, as byte offsets.
pub mod header {
    /// Set last by the maker of the arena.
    pub const MAGIC: u64 = 0;
    /// Version of the layout.
    pub const VERSION: u64 = 8;
    /// Identity of the build that made the arena.
    pub const BUILD: u64 = 16;
    /// Identity of the program, two words.
    pub const PROGRAM: u64 = 24;
    /// Bytes of the arena.
    pub const SIZE: u64 = 40;
    /// Number of thread slots.
    pub const THREADS: u64 = 48;
    /// Number of process records.
    pub const PROCESSES: u64 = 56;
    /// Spans handed out.
    pub const HEAP_TOP: u64 = 64;
    /// Bytes of spans whose pages were not given back. A hint.
    pub const TOUCHED: u64 = 72;
    /// Bytes that `TOUCHED` may reach.
    pub const BUDGET: u64 = 80;
    /// Bytes of free large blocks whose pages are kept. A hint.
    pub const FREE_LARGE: u64 = 88;
    /// Above so many bytes of free large blocks, pages are given back.
    pub const WATERMARK: u64 = 96;
    /// Thread slots below this index may be in use. A hint that only grows.
    pub const THREADS_HIGH: u64 = 104;
    /// Process records below this index may be in use. A hint that only grows.
    pub const PROCESSES_HIGH: u64 = 112;
    /// How often a slice's end found that there was something to do.
    pub const SLICE_FOUND_WORK: u64 = 120;
    /// The death epoch; on a cache line of its own, since every sleeper waits on it.
    pub const EPOCH: u64 = 128;
    /// How many thread slots were recovered.
    pub const RECOVERED: u64 = 192;
    /// Free for the runtime's own words.
    pub const RUNTIME: u64 = 256;
    /// End of the header.
    pub const END: u64 = 4096;
}

/// Hints that a size class keeps, and the words of its row.
pub const HINTS: u64 = 62;
/// Bytes of a size class's row: cursor of hints, cursor of the scan, hints.
pub const CLASS_BYTES: u64 = (HINTS + 2) * 8;

/// The regions of an arena of a given size.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Bytes in all.
    pub size: u64,
    /// Number of thread slots.
    pub thread_count: u64,
    /// Number of process records.
    pub process_count: u64,
    /// First byte of the classes' hints.
    pub classes: Off,
    /// First byte of the thread slots.
    pub threads: Off,
    /// First byte of the process records.
    pub processes: Off,
    /// First byte of the span table.
    pub spans: Off,
    /// First byte of the tag table.
    pub tags: Off,
    /// First byte of the heap.
    pub heap: Off,
    /// Number of spans in the heap.
    pub span_count: u64,
}

/// The smallest arena that makes sense.
pub const MIN_SIZE: u64 = 8 << 20;
/// The largest: blocks are named by 34 bits.
pub const MAX_SIZE: u64 = GRANULE << 34;

impl Layout {
    /// The layout of an arena of `size` bytes, with as many slots as it can bear.
    pub const fn new(size: u64) -> Self {
        let (threads, processes) = if size >= 1 << 30 {
            (1 << 16, 1 << 14)
        } else {
            (1 << 12, 1 << 9)
        };
        Self::with_counts(size, threads, processes)
    }

    /// The layout with the given numbers of thread slots and process records.
    pub const fn with_counts(size: u64, thread_count: u64, process_count: u64) -> Self {
        let classes = header::END;
        let threads = align(classes + class::COUNT as u64 * CLASS_BYTES, 4096);
        let processes = align(threads + thread_count * THREAD_BYTES, 4096);
        let spans = align(processes + process_count * PROCESS_BYTES, 4096);
        // Each span needs itself, a word, and a tag for each granule.
        let per_span = SPAN + 8 + SPAN / GRANULE * 8;
        let room = size.saturating_sub(spans + 2 * SPAN);
        let span_count = room / per_span;
        let tags = align(spans + span_count * 8, 4096);
        let heap = align(tags + span_count * (SPAN / GRANULE) * 8, SPAN);
        Self {
            size,
            thread_count,
            process_count,
            classes,
            threads,
            processes,
            spans,
            tags,
            heap,
            span_count,
        }
    }

    /// The thread slot of this index.
    #[inline]
    pub const fn thread(&self, slot: u32) -> Off {
        self.threads + slot as u64 * THREAD_BYTES
    }

    /// The process record of this index.
    #[inline]
    pub const fn process(&self, index: u32) -> Off {
        self.processes + index as u64 * PROCESS_BYTES
    }

    /// The word of a span.
    #[inline]
    pub const fn span(&self, span: u64) -> Off {
        self.spans + span * 8
    }

    /// The tag of the block that starts at `block`.
    #[inline]
    pub const fn tag(&self, block: Off) -> Off {
        self.tags + (block - self.heap) / GRANULE * 8
    }

    /// Whether a block may start at `block`.
    #[inline]
    pub const fn in_heap(&self, block: Off) -> bool {
        block >= self.heap
            && block < self.heap + self.span_count * SPAN
            && block.is_multiple_of(GRANULE)
    }

    /// The row of a size class.
    #[inline]
    pub const fn class(&self, class: u8) -> Off {
        self.classes + class as u64 * CLASS_BYTES
    }
}

const fn align(at: u64, to: u64) -> u64 {
    at.div_ceil(to) * to
}

const _: () = assert!(Layout::new(MAX_SIZE).process_count * 2 <= class::bytes(class::LEASES));
const _: () = assert!(Layout::new(MAX_SIZE).thread_count <= Owner::MAX_SLOTS as u64);
const _: () = assert!(Layout::new(MIN_SIZE).span_count > 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_do_not_overlap_and_end_within_the_arena() {
        for size in [MIN_SIZE, 64 << 20, 1 << 30, 1 << 40] {
            let l = Layout::new(size);
            assert!(l.classes < l.threads && l.threads < l.processes && l.processes < l.spans);
            assert!(l.spans + l.span_count * 8 <= l.tags);
            assert!(l.tags + l.span_count * (SPAN / GRANULE) * 8 <= l.heap);
            assert!(l.heap + l.span_count * SPAN <= l.size);
        }
    }
}
