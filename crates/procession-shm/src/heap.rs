//! The heap: blocks of size classes, each with a tag that says who owns it.
//!
//! *Idea*: a claim is one CAS on the block's own tag (compare iceoryx2's robust index set), so there is no
//! free list to tear. Where free blocks may be found is remembered in lossy hints; when they
//! fail, a bounded piece of the class's spans is looked through, then the heap grows.
//! *Invariant*: a block has one owner; whoever changes its tag by CAS from what he expected is the only one
//! who did. *On a death*: blocks `OWNED` by the dead thread are found by walking the spans.

use crate::class;
use crate::layout::{GRANULE, HINTS, SPAN, header};
use crate::section::Section;
use crate::tag::{Holds, Tag};
use crate::world::{Off, Owner, World};

/// The budget of the arena, or its address space, is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory {
    /// Bytes that were asked for.
    pub wanted: u64,
}

const HINT_CURSOR: u64 = 0;
const SCAN_CURSOR: u64 = 8;
const FIRST_HINT: u64 = 16;
/// How many hints, tags and span words one allocation looks at before the heap grows.
const HINTS_TRIED: u64 = 8;
const TAGS_TRIED: u64 = 64;
const SPANS_TRIED: u64 = 512;

/// Takes a block of this class for the calling thread. Its content is whatever was there.
pub fn alloc<W: World>(world: &W, class: u8) -> Result<Off, OutOfMemory> {
    let _section = Section::Alloc.enter();
    take(world, class).or_else(|_| {
        world.take_from_the_dead();
        take(world, class)
    })
}

fn take<W: World>(world: &W, class: u8) -> Result<Off, OutOfMemory> {
    let me = world.me();
    if let Some(block) = from_hints(world, class, me) {
        return Ok(block);
    }
    if let Some(block) = from_spans(world, class, me) {
        return Ok(block);
    }
    loop {
        let span = grow(world, class)?;
        let block = world.layout().heap + span * SPAN;
        if claim(world, block, class, me)? {
            return Ok(block);
        }
    }
}

/// Takes a block that holds `len` bytes.
pub fn alloc_len<W: World>(world: &W, len: u64) -> Result<Off, OutOfMemory> {
    alloc(
        world,
        class::for_len(len).ok_or(OutOfMemory { wanted: len })?,
    )
}

/// The tag of a block.
#[inline]
pub fn tag<W: World>(world: &W, block: Off) -> Tag {
    Tag::from_word(world.load(world.layout().tag(block)))
}

/// Sets the tag of a block that is the caller's own.
#[inline]
pub fn set_tag<W: World>(world: &W, block: Off, tag: Tag) {
    world.store(world.layout().tag(block), tag.to_word());
}

/// Changes a tag if it is what is expected.
#[inline]
pub fn change_tag<W: World>(world: &W, block: Off, from: Tag, to: Tag) -> bool {
    world
        .cas(world.layout().tag(block), from.to_word(), to.to_word())
        .is_ok()
}

/// Makes the caller the owner of a block whose tag is `from`; false if it is not.
pub fn seize<W: World>(world: &W, block: Off, from: Tag) -> bool {
    let holds = match from {
        Tag::Owned(_, holds) | Tag::Shared(_, holds) => holds,
        Tag::Object { .. } => Holds::Body,
        Tag::Free { .. } => return false,
    };
    change_tag(world, block, from, Tag::Owned(world.me(), holds))
}

/// Frees a block that is the caller's own. What hangs below it is not looked at.
pub fn free<W: World>(world: &W, block: Off) {
    let _section = Section::Free.enter();
    let Some(class) = class_of(world, block) else {
        return;
    };
    let bytes = class::bytes(class);
    let mut cold = false;
    if class::is_large(class) {
        let kept = header::FREE_LARGE;
        if world.load(kept).wrapping_add(bytes) > world.load(header::WATERMARK) {
            world.give_back(block, bytes);
            world.add(header::TOUCHED, bytes.wrapping_neg());
            cold = true;
        } else {
            world.add(kept, bytes);
        }
    }
    set_tag(world, block, Tag::Free { cold });
    hint(world, class, block);
}

/// The size class of a block, or `None` if no block starts there.
#[inline]
pub fn class_of<W: World>(world: &W, block: Off) -> Option<u8> {
    let layout = world.layout();
    if !layout.in_heap(block) {
        return None;
    }
    let at = block - layout.heap;
    let class = (world.load(layout.span(at / SPAN))).checked_sub(1)? as u8;
    let within = at % SPAN;
    (class < class::COUNT && within.is_multiple_of(class::bytes(class).min(SPAN))).then_some(class)
}

/// The bytes that a block holds.
pub fn capacity<W: World>(world: &W, block: Off) -> u64 {
    class_of(world, block).map_or(0, class::bytes)
}

/// Calls `visit` with every block of the heap, its class and its tag.
pub fn walk<W: World>(world: &W, mut visit: impl FnMut(Off, u8, Tag)) {
    walk_class(world, None, &mut visit);
}

/// Calls `visit` with every block of one class.
pub fn walk_blocks_of<W: World>(world: &W, class: u8, mut visit: impl FnMut(Off, Tag)) {
    walk_class(world, Some(class), &mut |block, _, tag| visit(block, tag));
}

fn walk_class<W: World>(world: &W, only: Option<u8>, visit: &mut impl FnMut(Off, u8, Tag)) {
    let layout = world.layout();
    let top = world.load(header::HEAP_TOP).min(layout.span_count);
    let mut span = 0;
    while span < top {
        let word = world.load(layout.span(span));
        // 0: inside a large run, or its maker died between taking and naming it.
        let Some(class) = word
            .checked_sub(1)
            .map(|c| c as u8)
            .filter(|&c| c < class::COUNT)
        else {
            span += 1;
            continue;
        };
        if only.is_none_or(|only| only == class) {
            for block in blocks(layout.heap + span * SPAN, class) {
                visit(block, class, tag(world, block));
            }
        }
        span += class::spans(class);
    }
}

/// The blocks of the row of spans that starts at `start`.
fn blocks(start: Off, class: u8) -> impl Iterator<Item = Off> {
    let bytes = class::bytes(class);
    let count = if class::is_large(class) {
        1
    } else {
        SPAN / bytes
    };
    (0..count).map(move |n| start + n * bytes)
}

fn claim<W: World>(world: &W, block: Off, class: u8, me: Owner) -> Result<bool, OutOfMemory> {
    let now = tag(world, block);
    let Tag::Free { cold } = now else {
        return Ok(false);
    };
    let bytes = class::bytes(class);
    if cold && world.load(header::TOUCHED).saturating_add(bytes) > world.load(header::BUDGET) {
        return Err(OutOfMemory { wanted: bytes });
    }
    if !change_tag(world, block, now, Tag::Owned(me, Holds::Bytes)) {
        return Ok(false);
    }
    if class::is_large(class) {
        if cold {
            world.add(header::TOUCHED, bytes);
        } else if world.load(header::FREE_LARGE) >= bytes {
            world.add(header::FREE_LARGE, bytes.wrapping_neg());
        }
    }
    Ok(true)
}

fn hint<W: World>(world: &W, class: u8, block: Off) {
    let row = world.layout().class(class);
    let n = world.add(row + HINT_CURSOR, 1);
    world.store(row + FIRST_HINT + n % HINTS * 8, block);
}

fn from_hints<W: World>(world: &W, class: u8, me: Owner) -> Option<Off> {
    let row = world.layout().class(class);
    let cursor = world.load(row + HINT_CURSOR);
    for back in 1..=HINTS_TRIED {
        let at = row + FIRST_HINT + cursor.wrapping_sub(back) % HINTS * 8;
        if world.load(at) == 0 {
            continue;
        }
        let block = world.swap(at, 0);
        if class_of(world, block) == Some(class) && claim(world, block, class, me) == Ok(true) {
            // The next free goes where this one came from: last freed, first used.
            let _ = world.cas(row + HINT_CURSOR, cursor, cursor.wrapping_sub(back));
            return Some(block);
        }
    }
    None
}

fn from_spans<W: World>(world: &W, class: u8, me: Owner) -> Option<Off> {
    let layout = world.layout();
    let row = layout.class(class);
    let top = world.load(header::HEAP_TOP).min(layout.span_count);
    if top == 0 {
        return None;
    }
    // The cursor counts granules, so that a span is not looked through from its start each time.
    let granules = SPAN / GRANULE;
    let start = world.load(row + SCAN_CURSOR) % (top * granules);
    let mut at = start;
    let mut tags = TAGS_TRIED;
    for _ in 0..SPANS_TRIED.min(top + 1) {
        let span = at / granules;
        if world.load(layout.span(span)) == class as u64 + 1 {
            let bytes = class::bytes(class);
            let count = if class::is_large(class) {
                1
            } else {
                SPAN / bytes
            };
            let first = (at % granules * GRANULE).div_ceil(bytes);
            for n in first..count {
                let block = layout.heap + span * SPAN + n * bytes;
                if claim(world, block, class, me) == Ok(true) {
                    world.store(
                        row + SCAN_CURSOR,
                        span * granules + (n + 1) * bytes / GRANULE,
                    );
                    return Some(block);
                }
                tags -= 1;
                if tags == 0 {
                    world.store(
                        row + SCAN_CURSOR,
                        span * granules + (n + 1) * bytes / GRANULE,
                    );
                    return None;
                }
            }
        }
        at = (span + 1) % top * granules;
    }
    world.store(row + SCAN_CURSOR, at);
    None
}

/// Adds a row of spans of this class and says which span is its first.
fn grow<W: World>(world: &W, class: u8) -> Result<u64, OutOfMemory> {
    let layout = world.layout();
    let spans = class::spans(class);
    let bytes = spans * SPAN;
    let fits =
        |world: &W| world.load(header::TOUCHED).saturating_add(bytes) <= world.load(header::BUDGET);
    if !fits(world) {
        cool(world);
        // What a recovery counted while others took and gave is off.
        recount(world);
        if !fits(world) {
            return Err(OutOfMemory { wanted: bytes });
        }
    }
    loop {
        let top = world.load(header::HEAP_TOP);
        if top + spans > layout.span_count {
            return Err(OutOfMemory { wanted: bytes });
        }
        if world.cas(header::HEAP_TOP, top, top + spans).is_ok() {
            world.add(header::TOUCHED, bytes);
            world.store(layout.span(top), class as u64 + 1);
            world.store(layout.class(class) + SCAN_CURSOR, top * (SPAN / GRANULE));
            return Ok(top);
        }
    }
}

/// Gives back the pages of every free large block.
pub fn cool<W: World>(world: &W) {
    let _section = Section::Alloc.enter();
    let me = world.me();
    walk(world, |block, class, tag| {
        if class::is_large(class)
            && tag == Tag::FREE
            && change_tag(world, block, tag, Tag::Owned(me, Holds::Bytes))
        {
            let bytes = class::bytes(class);
            world.give_back(block, bytes);
            world.add(header::TOUCHED, bytes.wrapping_neg());
            set_tag(world, block, Tag::Free { cold: true });
        }
    });
    world.store(header::FREE_LARGE, 0);
}

/// Counts `TOUCHED` and `FREE_LARGE` anew: a death may have left these hints off.
pub fn recount<W: World>(world: &W) {
    let (mut touched, mut free) = (0, 0);
    walk(world, |block, class, tag| {
        let bytes = class::bytes(class);
        if class::is_large(class) {
            touched += if matches!(tag, Tag::Free { cold: true }) {
                0
            } else {
                bytes
            };
            free += if tag == Tag::FREE { bytes } else { 0 };
        } else if (block - world.layout().heap).is_multiple_of(SPAN) {
            touched += SPAN;
        }
    });
    world.store(header::TOUCHED, touched);
    world.store(header::FREE_LARGE, free);
}
