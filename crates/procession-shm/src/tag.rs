//! The tag of a block: one word that says who owns it.

use crate::layout::GRANULE;
use crate::world::{Off, Owner};

/// What a block holds, as far as freeing it is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Holds {
    /// Bytes; nothing hangs below it.
    Bytes = 0,
    /// A message: it lists the blocks below it.
    Message = 1,
    /// An edge: it names an object.
    Edge = 2,
    /// The body of an object.
    Body = 3,
}

/// Who owns a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tag {
    /// Nobody. `cold`: its pages were given back.
    Free {
        /// Its pages were given back.
        cold: bool,
    },
    /// A thread, privately.
    Owned(Owner, Holds),
    /// The block that starts at this offset.
    Shared(Off, Holds),
    /// It is an entry of the object table that is in use.
    Object {
        /// Which use of the entry: who takes an object apart takes no later one.
        generation: u64,
    },
}

impl Tag {
    /// The tag of memory that nobody ever touched.
    pub const FREE: Tag = Tag::Free { cold: false };

    /// The tag as a word.
    #[inline]
    pub const fn to_word(self) -> u64 {
        match self {
            Tag::Free { cold } => (cold as u64) << 2,
            Tag::Owned(owner, holds) => 1 | (holds as u64) << 2 | owner.to_bits() << 4,
            Tag::Shared(parent, holds) => 2 | (holds as u64) << 2 | (parent / GRANULE) << 4,
            Tag::Object { generation } => 3 | generation << 4,
        }
    }

    /// The tag that a word means.
    #[inline]
    pub const fn from_word(word: u64) -> Self {
        let holds = match word >> 2 & 3 {
            0 => Holds::Bytes,
            1 => Holds::Message,
            2 => Holds::Edge,
            _ => Holds::Body,
        };
        match word & 3 {
            0 => Tag::Free {
                cold: word >> 2 & 1 == 1,
            },
            1 => Tag::Owned(Owner::from_bits(word >> 4), holds),
            2 => Tag::Shared((word >> 4) * GRANULE, holds),
            _ => Tag::Object {
                generation: word >> 4,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_tags_are_one_to_one() {
        let owner = Owner {
            slot: (1 << 20) - 1,
            generation: (1 << 40) - 1,
        };
        for tag in [
            Tag::FREE,
            Tag::Free { cold: true },
            Tag::Owned(owner, Holds::Message),
            Tag::Owned(
                Owner {
                    slot: 0,
                    generation: 1,
                },
                Holds::Bytes,
            ),
            Tag::Shared(GRANULE * ((1 << 34) - 1), Holds::Body),
            Tag::Object {
                generation: (1 << 56) - 1,
            },
        ] {
            assert_eq!(Tag::from_word(tag.to_word()), tag);
        }
        assert_eq!(Tag::FREE.to_word(), 0);
    }
}
