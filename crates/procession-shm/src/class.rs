//! Size classes: the lengths that blocks come in.
//!
//! Four kinds of block have a class of their own, so that their memory never serves as payload:
//! object entries and segments of queues. Small blocks share a span; large ones are a run of
//! spans. Two classes to each doubling, so at most a third of a block is unused.

use crate::layout::SPAN;

/// Class of the object entries.
pub const OBJECT: u8 = 0;
/// Class of queue segments.
pub const SEGMENT: u8 = 1;
/// Class of edges: blocks that name an object from within a message.
pub const EDGE: u8 = 2;

/// Class of the lease counts of objects that more processes know than their entry has room for. A
/// recoverer may look into one that was freed meanwhile, and must find counts there.
pub const LEASES: u8 = 3;

/// Bytes of an object entry.
pub const OBJECT_BYTES: u64 = 192;
/// Bytes of a segment: 127 cells and a header of one cell.
pub const SEGMENT_BYTES: u64 = 128 * 128;

const SMALL: [u64; 18] = [
    64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384,
    24576, 32768,
];
const FIRST_SMALL: u8 = 4;
const FIRST_LARGE: u8 = FIRST_SMALL + SMALL.len() as u8;
/// Two classes to each doubling from 64 KiB to 1 TiB.
const LARGE: u8 = 2 * 24 + 1;
/// Number of classes.
pub const COUNT: u8 = FIRST_LARGE + LARGE;

/// Bytes of a block of this class.
#[inline]
pub const fn bytes(class: u8) -> u64 {
    match class {
        OBJECT => OBJECT_BYTES,
        SEGMENT => SEGMENT_BYTES,
        EDGE => 64,
        LEASES => 32768,
        small if small < FIRST_LARGE => SMALL[(small - FIRST_SMALL) as usize],
        large => {
            let step = (large - FIRST_LARGE) as u64;
            let base = SPAN << (step / 2);
            if step.is_multiple_of(2) {
                base
            } else {
                base + base / 2
            }
        }
    }
}

/// Whether a block of this class is a run of whole spans.
#[inline]
pub const fn is_large(class: u8) -> bool {
    class >= FIRST_LARGE
}

/// Spans that a new row of this class takes.
#[inline]
pub const fn spans(class: u8) -> u64 {
    bytes(class).div_ceil(SPAN)
}

/// The smallest class whose blocks hold `len` bytes, if there is one.
pub fn for_len(len: u64) -> Option<u8> {
    (FIRST_SMALL..COUNT).find(|&class| bytes(class) >= len)
}

/// The smallest class of whole spans that holds `len` bytes: its blocks can be mapped by themselves.
pub fn for_pages(len: u64) -> Option<u8> {
    (FIRST_LARGE..COUNT).find(|&class| bytes(class) >= len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_has_the_smallest_class() {
        for len in [
            0,
            1,
            64,
            65,
            4096,
            4097,
            32768,
            32769,
            65536,
            65537,
            100 << 20,
        ] {
            let class = for_len(len).unwrap();
            assert!(bytes(class) >= len);
            assert!(class == FIRST_SMALL || bytes(class - 1) < len);
        }
        assert_eq!(for_len(1 << 41), None);
        assert!(bytes(COUNT - 1) == 1 << 40);
    }
}
