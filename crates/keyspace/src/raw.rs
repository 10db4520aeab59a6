//! Owns the memory of the keyspace: an entry is one block (header, expiry, key, value) behind one
//! tagged pointer, and a bucket is one cache line of such pointers. All unsafe code of the keyspace
//! is here; it never knows hashing, tables or time.
//!
//! A block, every part without padding:
//!
//! ```text
//! header u64 | expiry i64, if HAS_EXPIRY | key length u64, if LONG_KEY | key | value
//! ```
//!
//! Invariants:
//! - the header alone says where everything is and, through [`size_class`], how large the block is;
//!   all bytes up to the end of the value are initialised;
//! - the value is an `i64`, a pointer from `Arc<Object>` of which this entry owns one count, or at most
//!   [`EMBED_MAX`] bytes, of a string or of a container that is packed;
//! - an object that a snapshot has a count of as well is read only, by everybody; it is cloned before a change;
//! - a pointer fits 48 bits; the tag is in the 16 bits above.

use std::alloc::{alloc, alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use containers::{size_class, Splice};

use super::form::{Form, Packing};
use super::object::Object;
use super::value::Kind;

/// The longest string, and the largest packed container, that is kept inside its entry.
pub(super) const EMBED_MAX: usize = 1024;

/// Entries in one cache line, beside the pointer to a further line.
pub(super) const BUCKET_SLOTS: usize = 7;

const TAG_SHIFT: u32 = 48;
const ADDRESS_MASK: usize = (1 << TAG_SHIFT) - 1;

/// In the expiry field: there is none (the field stays once it exists).
const NEVER: i64 = i64::MIN;

/// P3: of which of two kinds of epochs an entry is: its bit in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Mark {
    pub fn other(self) -> Mark {
        Mark(self.0 ^ Header::MARK)
    }
}

/// Bits 0-3 form, 4 HAS_EXPIRY, 5 LONG_KEY, 6 the snapshot's mark, 7 free, 8-31 kept for an
/// access clock, 32-47 key length (unless LONG_KEY), 48-63 length of the value field.
#[derive(Clone, Copy)]
struct Header(u64);

impl Header {
    const FORM: u64 = 0xF;
    const HAS_EXPIRY: u64 = 1 << 4;
    const LONG_KEY: u64 = 1 << 5;
    const MARK: u64 = 1 << 6;

    fn new(key_len: usize) -> Header {
        match u16::try_from(key_len) {
            Ok(len) => Header(u64::from(len) << 32),
            Err(_) => Header(Header::LONG_KEY),
        }
    }

    fn with_value(self, form: Form, value_len: usize) -> Header {
        let len = u16::try_from(value_len).expect("a value field is at most EMBED_MAX long");
        Header(
            (self.0 & 0x0000_FFFF_FFFF_FFFF & !Header::FORM) | form as u64 | u64::from(len) << 48,
        )
    }

    fn with_expiry(self) -> Header {
        Header(self.0 | Header::HAS_EXPIRY)
    }

    fn with_mark(self, mark: Mark) -> Header {
        Header((self.0 & !Header::MARK) | mark.0)
    }

    /// The same but for the key's length.
    fn with_key(self, key_len: usize) -> Header {
        Header((self.0 & !(0xFFFF << 32 | Header::LONG_KEY)) | Header::new(key_len).0)
    }

    fn form(self) -> Form {
        let form = Form::ALL.get((self.0 & Header::FORM) as usize);
        *form.expect("no other form is ever written")
    }

    /// Whether the value field is a pointer from `Arc<Object>`.
    fn is_object(self) -> bool {
        matches!(
            self.form(),
            Form::ObjString
                | Form::ObjBlob
                | Form::ObjHash
                | Form::ObjSet
                | Form::ObjList
                | Form::ObjSortedSet
        )
    }

    fn has_expiry(self) -> bool {
        self.0 & Header::HAS_EXPIRY != 0
    }

    fn long_key(self) -> bool {
        self.0 & Header::LONG_KEY != 0
    }

    fn key_offset(self) -> usize {
        8 + 8 * usize::from(self.has_expiry()) + 8 * usize::from(self.long_key())
    }

    /// The key's length, unless LONG_KEY.
    fn short_key_len(self) -> usize {
        (self.0 >> 32 & 0xFFFF) as usize
    }

    fn value_len(self) -> usize {
        (self.0 >> 48) as usize
    }

    fn block_size(self, key_len: usize) -> usize {
        size_class(self.key_offset() + key_len + self.value_len())
    }

    fn layout(self, key_len: usize) -> Layout {
        Layout::from_size_align(self.block_size(key_len), 8).expect("keys are at most 512 MiB")
    }
}

/// What to write as an entry's value.
pub(super) enum Payload<'a> {
    Int(i64),
    /// At most [`EMBED_MAX`] bytes.
    Bytes(&'a [u8]),
    /// As well, of a string that was written into.
    Written(&'a [u8]),
    /// As well.
    Packed(Packing, &'a [u8]),
    Object(Arc<Object>),
}

impl Payload<'_> {
    fn shape(&self) -> (Form, usize) {
        match self {
            Payload::Int(_) => (Form::Int, 8),
            Payload::Bytes(bytes) => {
                assert!(bytes.len() <= EMBED_MAX);
                (Form::Bytes, bytes.len())
            }
            Payload::Written(bytes) => {
                assert!(bytes.len() <= EMBED_MAX);
                (Form::Written, bytes.len())
            }
            Payload::Packed(packing, bytes) => {
                assert!(bytes.len() <= EMBED_MAX);
                (packing.form(), bytes.len())
            }
            Payload::Object(object) => (object.form(), 8),
        }
    }

    /// # Safety
    /// `at` must be valid for writes of the length that `shape` says.
    unsafe fn write(self, at: *mut u8) {
        // SAFETY: the caller's promise; a fresh or exclusively borrowed block can't overlap a
        // slice that somebody else lends us.
        unsafe {
            match self {
                Payload::Int(n) => at.cast::<i64>().write_unaligned(n),
                Payload::Bytes(b) | Payload::Written(b) | Payload::Packed(_, b) => {
                    ptr::copy_nonoverlapping(b.as_ptr(), at, b.len());
                }
                Payload::Object(o) => at.cast::<*const Object>().write_unaligned(Arc::into_raw(o)),
            }
        }
    }
}

/// An entry's value, borrowed.
pub(super) enum PayloadRef<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    Packed(Packing, &'a [u8]),
    Object(&'a Object),
}

/// Owns one entry: its block and, through it, a count of its object. Carries 16 bits of the key's hash.
#[repr(transparent)]
pub(super) struct EntryPtr {
    tagged: NonNull<u8>,
    owns: PhantomData<Arc<Object>>,
}

// SAFETY: an entry owns all it points to (plain bytes and a count of an `Object`, which is
// `Send + Sync`, checked below), and shared references to it only read.
unsafe impl Send for EntryPtr {}
// SAFETY: as above; there is no interior mutability.
unsafe impl Sync for EntryPtr {}
const _: fn() = || {
    fn holds<T: Send + Sync>() {}
    holds::<Object>();
};

impl EntryPtr {
    pub fn new(
        tag: u16,
        mark: Mark,
        key: &[u8],
        expiry: Option<i64>,
        payload: Payload<'_>,
    ) -> EntryPtr {
        let (form, value_len) = payload.shape();
        let header = Header::new(key.len()).with_mark(mark);
        let mut header = header.with_value(form, value_len);
        if expiry.is_some() {
            header = header.with_expiry();
        }
        let (block, value) = Block::create(header, key, field(expiry));
        // SAFETY: `value` is valid for `value_len` bytes, the payload's.
        unsafe { payload.write(value) };
        EntryPtr::from_block(tag, block)
    }

    fn from_block(tag: u16, block: Block) -> EntryPtr {
        assert_eq!(
            block.0.addr().get() & !ADDRESS_MASK,
            0,
            "pointers fit 48 bits"
        );
        EntryPtr {
            tagged: block.0.map_addr(|a| a | usize::from(tag) << TAG_SHIFT),
            owns: PhantomData,
        }
    }

    fn block(&self) -> Block {
        let address = self.tagged.as_ptr().map_addr(|a| a & ADDRESS_MASK);
        // SAFETY: `from_block` made it of a non-null pointer below 2^48.
        Block(unsafe { NonNull::new_unchecked(address) })
    }

    pub fn tag(&self) -> u16 {
        (self.tagged.addr().get() >> TAG_SHIFT) as u16
    }

    pub fn key(&self) -> &[u8] {
        let block = self.block();
        let header = block.header();
        // SAFETY: the key's bytes are initialised and live as long as `self` is borrowed.
        unsafe {
            let at = block.0.as_ptr().add(header.key_offset());
            std::slice::from_raw_parts(at, block.key_len())
        }
    }

    #[inline]
    pub fn mark(&self) -> Mark {
        Mark(self.block().header().0 & Header::MARK)
    }

    pub fn set_mark(&mut self, mark: Mark) {
        let block = self.block();
        block.set_header(block.header().with_mark(mark));
    }

    pub fn expiry(&self) -> Option<i64> {
        expiry_of(self.block().expiry())
    }

    /// Bytes of memory: the block's, and those of the object, whose pointer has two counts beside it.
    pub fn memory(&self) -> usize {
        let block = self.block();
        let own = block.header().block_size(block.key_len());
        match self.payload() {
            PayloadRef::Object(object) => {
                own + size_class(2 * size_of::<usize>() + size_of::<Object>()) + object.bytes()
            }
            _ => own,
        }
    }

    /// The value's kind, by the header alone.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.block().header().form().kind()
    }

    /// Whether it is a string within the entry that was written into.
    pub fn is_written(&self) -> bool {
        self.block().header().form() == Form::Written
    }

    pub fn payload(&self) -> PayloadRef<'_> {
        let block = self.block();
        let header = block.header();
        let at = block.value();
        // SAFETY: the form says what was written there; the borrow of `self` keeps it.
        unsafe {
            match header.form() {
                Form::Int => PayloadRef::Int(at.cast::<i64>().read_unaligned()),
                _ if header.is_object() => PayloadRef::Object(&*block.object()),
                form => {
                    let bytes = std::slice::from_raw_parts(at, header.value_len());
                    embedded(form, bytes)
                }
            }
        }
    }

    /// The object, to be changed in place; none while a snapshot has it too.
    pub fn object_mut(&mut self) -> Option<&mut Object> {
        let block = self.block();
        if !block.header().is_object() {
            return None;
        }
        // SAFETY: the pointer is one from `Arc::into_raw`, whose count stays this entry's. Where that is the
        // only one nobody else can come to the object as long as `self` is borrowed.
        unsafe {
            let object = block.object();
            let mut count = ManuallyDrop::new(Arc::from_raw(object));
            Arc::get_mut(&mut count)?;
            Some(&mut *object.cast_mut())
        }
    }

    /// The object, to be changed. One that a snapshot has too is left to that, and a clone takes its place, which
    /// shares all parts of a container. The kind stays.
    pub fn object_to_change(&mut self) -> Option<&mut Object> {
        let block = self.block();
        if !block.header().is_object() {
            return None;
        }
        if self.object_mut().is_none() {
            // SAFETY: the entry's count is taken over, and that of a new object of the same form put in its place.
            unsafe {
                let shared = Arc::from_raw(block.object());
                let own = Arc::into_raw(Arc::new(Object::clone(&shared)));
                block.value().cast::<*const Object>().write_unaligned(own);
            }
        }
        self.object_mut()
    }

    /// The bytes of a packed container, to be changed.
    pub fn packed_mut(&mut self) -> Option<PackedMut<'_>> {
        let packing = self.block().header().form().packing()?;
        Some(PackedMut {
            entry: self,
            packing,
        })
    }

    /// A count more of the object, if it is one.
    pub fn share_object(&self) -> Option<Arc<Object>> {
        let block = self.block();
        // SAFETY: the pointer is one from `Arc::into_raw`, whose count stays this entry's.
        block.header().is_object().then(|| unsafe {
            Arc::increment_strong_count(block.object());
            Arc::from_raw(block.object())
        })
    }

    /// Takes the object out of an entry that is about to be dropped; 0 stays as its value.
    pub fn take_object(&mut self) -> Option<Arc<Object>> {
        self.block().take_object()
    }

    /// Copies the block behind `to`, to be read by [`Copied::read`]: all of it but the pointer to an object.
    pub fn copy_to(&self, to: &mut Vec<u8>) {
        let block = self.block();
        let header = block.header();
        let value = if header.is_object() {
            0
        } else {
            header.value_len()
        };
        let len = header.key_offset() + block.key_len() + value;
        // SAFETY: all bytes up to the end of the value are initialised, and are only read.
        to.extend_from_slice(unsafe { std::slice::from_raw_parts(block.0.as_ptr(), len) });
    }

    /// Overwrites value and expiry, in place if the block's class allows it. Returns the object
    /// that was the value before.
    #[must_use = "a large object is freed elsewhere"]
    pub fn store(&mut self, payload: Payload<'_>, expiry: Option<i64>) -> Option<Arc<Object>> {
        let old = self.block();
        let object = old.take_object();
        let (form, value_len) = payload.shape();
        let header = old.header();
        let mut header = header.with_value(form, value_len);
        if expiry.is_some() {
            header = header.with_expiry();
        }
        let block = self.reshape(header, 0);
        block.set_expiry(expiry);
        // SAFETY: the block has the shape of `header`, which has room for this payload.
        unsafe { payload.write(block.value()) };
        object
    }

    pub fn set_expiry(&mut self, expiry: Option<i64>) {
        let header = self.block().header();
        if expiry.is_some() && !header.has_expiry() {
            self.reshape(header.with_expiry(), header.value_len());
        }
        self.block().set_expiry(expiry);
    }

    /// Makes an embedded string `len` bytes long, to be written into; zeros at its end when it grows.
    /// `None` when the value is something else.
    pub fn resize_embedded(&mut self, len: usize) -> Option<&mut [u8]> {
        assert!(len <= EMBED_MAX);
        let header = self.block().header();
        if !matches!(header.form(), Form::Bytes | Form::Written) {
            return None;
        }
        let kept = header.value_len().min(len);
        let block = self.reshape(header.with_value(Form::Written, len), kept);
        // SAFETY: the value field is `len` bytes long now, of which `kept` are initialised; the
        // rest is before the slice is made. We are borrowed exclusively.
        unsafe {
            block.value().add(kept).write_bytes(0, len - kept);
            Some(std::slice::from_raw_parts_mut(block.value(), len))
        }
    }

    /// The same value and expiry under another key.
    pub fn with_key(self, tag: u16, key: &[u8]) -> EntryPtr {
        let old = self.block();
        let header = old.header().with_key(key.len());
        let (block, value) = Block::create(header, key, old.expiry());
        // SAFETY: both value fields are as long as the header says and in different blocks. The
        // object's ownership moves with its pointer: the old block is freed without its object.
        unsafe {
            ptr::copy_nonoverlapping(old.value(), value, header.value_len());
            mem::forget(self);
            old.free();
        }
        EntryPtr::from_block(tag, block)
    }

    /// Gives the block the shape of `header` (same key), in place or by moving; `kept` bytes of
    /// the value stay. What the value field holds beyond them is the caller's to write.
    fn reshape(&mut self, header: Header, kept: usize) -> Block {
        let old = self.block();
        let key_len = old.key_len();
        let same_class = header.block_size(key_len) == old.header().block_size(key_len);
        if same_class && header.has_expiry() == old.header().has_expiry() {
            old.set_header(header);
            return old;
        }
        let (block, value) = Block::create(header, self.key(), old.expiry());
        // SAFETY: both fields have at least `kept` bytes and are in different blocks. The old
        // block's object, if any, is owned by the copied pointer now.
        unsafe {
            ptr::copy_nonoverlapping(old.value(), value, kept);
            old.free();
        }
        let tag = self.tag();
        mem::forget(mem::replace(self, EntryPtr::from_block(tag, block)));
        block
    }
}

/// An embedded container's bytes, which may become as long as [`EMBED_MAX`].
pub(super) struct PackedMut<'e> {
    entry: &'e mut EntryPtr,
    packing: Packing,
}

impl Splice for PackedMut<'_> {
    fn bytes(&self) -> &[u8] {
        match self.entry.payload() {
            PayloadRef::Packed(_, bytes) => bytes,
            _ => unreachable!("a packed container stays one while it is borrowed"),
        }
    }

    fn splice(&mut self, at: usize, remove: usize, insert: &[&[u8]]) {
        let header = self.entry.block().header();
        let (old, behind) = (header.value_len(), at + remove);
        assert!(behind <= old, "a splice stays within the bytes");
        let more: usize = insert.iter().map(|part| part.len()).sum();
        let new = old - remove + more;
        assert!(new <= EMBED_MAX, "more than this is no longer embedded");
        let reshaped = header.with_value(self.packing.form(), new);
        if new >= old {
            self.entry.reshape(reshaped, old);
        }
        // SAFETY: the value field has room for the longer one of both forms; the parts are borrowed from
        // elsewhere, as the entry is borrowed exclusively.
        unsafe {
            let value = self.entry.block().value();
            ptr::copy(value.add(behind), value.add(at + more), old - behind);
            let mut to = value.add(at);
            for part in insert {
                ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
                to = to.add(part.len());
            }
        }
        if new < old {
            self.entry.reshape(reshaped, new);
        }
    }
}

impl Drop for EntryPtr {
    fn drop(&mut self) {
        let block = self.block();
        drop(block.take_object());
        // SAFETY: we own the block and nobody can reach it after this.
        unsafe { block.free() };
    }
}

fn field(expiry: Option<i64>) -> i64 {
    expiry.map_or(NEVER, |at| at.max(NEVER + 1))
}

/// What an expiry field says.
fn expiry_of(field: i64) -> Option<i64> {
    Some(field).filter(|&at| at != NEVER)
}

/// A block's address. Methods trust that it is live and shaped as its header says: only this file
/// makes one, from an [`EntryPtr`] that is borrowed or owned for the while.
#[derive(Clone, Copy)]
struct Block(NonNull<u8>);

impl Block {
    /// A new block with everything written but the value, and the place of the value.
    fn create(header: Header, key: &[u8], expiry: i64) -> (Block, *mut u8) {
        let layout = header.layout(key.len());
        // SAFETY: the layout has a size of at least 8; all offsets lie within it by
        // `Header::block_size`, and the 8-byte fields before the key are aligned.
        unsafe {
            let Some(block) = NonNull::new(alloc(layout)) else {
                handle_alloc_error(layout)
            };
            let words = block.cast::<u64>();
            words.write(header.0);
            if header.has_expiry() {
                words.add(1).cast::<i64>().write(expiry);
            }
            if header.long_key() {
                words
                    .add(1 + usize::from(header.has_expiry()))
                    .write(key.len() as u64);
            }
            let at = block.as_ptr().add(header.key_offset());
            ptr::copy_nonoverlapping(key.as_ptr(), at, key.len());
            (Block(block), at.add(key.len()))
        }
    }

    fn header(self) -> Header {
        // SAFETY: every block starts with its header.
        Header(unsafe { self.0.cast::<u64>().read() })
    }

    fn set_header(self, header: Header) {
        // SAFETY: as above.
        unsafe { self.0.cast::<u64>().write(header.0) }
    }

    fn key_len(self) -> usize {
        let header = self.header();
        if !header.long_key() {
            return header.short_key_len();
        }
        // SAFETY: LONG_KEY says that the length is there.
        let len = unsafe {
            self.0
                .cast::<u64>()
                .add(1 + usize::from(header.has_expiry()))
                .read()
        };
        len as usize
    }

    /// The expiry field, `NEVER` where there is none.
    fn expiry(self) -> i64 {
        if !self.header().has_expiry() {
            return NEVER;
        }
        // SAFETY: HAS_EXPIRY says that the field is there.
        unsafe { self.0.cast::<i64>().add(1).read() }
    }

    /// Does nothing for `None` where there is no field.
    fn set_expiry(self, expiry: Option<i64>) {
        if self.header().has_expiry() {
            // SAFETY: HAS_EXPIRY says that the field is there.
            unsafe { self.0.cast::<i64>().add(1).write(field(expiry)) }
        } else {
            assert!(expiry.is_none(), "the caller made room for an expiry");
        }
    }

    fn value(self) -> *mut u8 {
        // SAFETY: the value lies behind the key, within the block.
        unsafe {
            self.0
                .as_ptr()
                .add(self.header().key_offset() + self.key_len())
        }
    }

    /// The pointer to the object.
    ///
    /// # Safety
    /// The header must say that there is one.
    unsafe fn object(self) -> *const Object {
        // SAFETY: the caller's promise: that is what was written there.
        unsafe { self.value().cast::<*const Object>().read_unaligned() }
    }

    /// Takes the object out and leaves an integer where its pointer was.
    fn take_object(self) -> Option<Arc<Object>> {
        let header = self.header();
        if !header.is_object() {
            return None;
        }
        // SAFETY: the pointer is one from `Arc::into_raw`; the new header makes sure that it is
        // never taken for an object again.
        unsafe {
            let object = self.object();
            self.value().cast::<i64>().write_unaligned(0);
            self.set_header(header.with_value(Form::Int, 8));
            Some(Arc::from_raw(object))
        }
    }

    /// # Safety
    /// The block must not be used afterwards. Its object, if any, is not freed.
    unsafe fn free(self) {
        let layout = self.header().layout(self.key_len());
        // SAFETY: it was allocated with this layout: every change of shape keeps the class.
        unsafe { dealloc(self.0.as_ptr(), layout) }
    }
}

/// A block that [`EntryPtr::copy_to`] has copied, read again.
pub(super) struct Copied<'a> {
    pub key: &'a [u8],
    pub expiry: Option<i64>,
    /// None: an object, which is not with it.
    pub payload: Option<PayloadRef<'a>>,
}

impl<'a> Copied<'a> {
    /// Takes one off the front of what was copied.
    pub fn read(from: &mut &'a [u8]) -> Copied<'a> {
        let header = Header(u64::from_ne_bytes(take_word(from)));
        let expiry = match header.has_expiry() {
            true => i64::from_ne_bytes(take_word(from)),
            false => NEVER,
        };
        let key_len = match header.long_key() {
            true => usize::from_ne_bytes(take_word(from)),
            false => header.short_key_len(),
        };
        let key = take(from, key_len);
        let payload = match header.form() {
            Form::Int => Some(PayloadRef::Int(i64::from_ne_bytes(take_word(from)))),
            _ if header.is_object() => None,
            form => Some(embedded(form, take(from, header.value_len()))),
        };
        Copied {
            key,
            expiry: expiry_of(expiry),
            payload,
        }
    }
}

/// What bytes within an entry or a copy of it are.
fn embedded(form: Form, bytes: &[u8]) -> PayloadRef<'_> {
    match form.packing() {
        None => PayloadRef::Bytes(bytes),
        Some(packing) => PayloadRef::Packed(packing, bytes),
    }
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, rest) = from.split_at(len);
    *from = rest;
    taken
}

fn take_word(from: &mut &[u8]) -> [u8; 8] {
    let word = take(from, 8).try_into();
    word.expect("eight bytes were taken")
}

/// One cache line of entries; all zeros is the empty one.
#[repr(C, align(64))]
#[derive(Default)]
pub(super) struct Bucket {
    pub slots: [Option<EntryPtr>; BUCKET_SLOTS],
    pub child: Option<Box<Bucket>>,
}

const _: () = assert!(mem::size_of::<Bucket>() == 64);

impl Bucket {
    /// A bit for each slot that may hold an entry of this tag; without branches, for where in its
    /// bucket an entry lies can't be predicted.
    #[inline]
    pub fn candidates(&self, tag: u16) -> u32 {
        let word = |slot: &Option<EntryPtr>| slot.as_ref().map_or(0, |e| e.tagged.addr().get());
        (0..BUCKET_SLOTS).fold(0, |bits, i| {
            let same = word(&self.slots[i]) >> TAG_SHIFT == usize::from(tag);
            bits | u32::from(same) << i
        })
    }
}

/// Asks for the cache line at `at` and goes on without it.
#[inline]
pub fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; it reads nothing that the program could see and never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

impl Bucket {
    /// Asks for the first lines of all entries, and for the next bucket of the chain.
    pub fn prefetch_all(&self) {
        for entry in self.slots.iter().flatten() {
            let at = entry.block().0.as_ptr();
            prefetch(at);
            prefetch(at.wrapping_add(mem::size_of::<Bucket>()));
        }
        if let Some(child) = &self.child {
            prefetch(&raw const **child);
        }
    }

    /// Asks for the first lines of the entries that may be meant by `tag`: header, key and the
    /// start of the value.
    #[inline]
    pub fn prefetch_entries(&self, tag: u16) {
        let mut candidates = self.candidates(tag);
        while candidates != 0 {
            if let Some(entry) = &self.slots[candidates.trailing_zeros() as usize] {
                let at = entry.block().0.as_ptr();
                prefetch(at);
                prefetch(at.wrapping_add(mem::size_of::<Bucket>()));
            }
            candidates &= candidates - 1;
        }
    }
}

/// `count` empty buckets. The memory is mapped when it is first touched, so the time that this
/// takes does not grow with `count`.
pub(super) fn empty_buckets(count: usize) -> Box<[Bucket]> {
    assert!(count > 0);
    let layout = Layout::array::<Bucket>(count).expect("a table fits the address space");
    // SAFETY: the layout is not empty. All zeros is a valid bucket: an `Option` of `Box` or of a
    // transparent wrapper of `NonNull` is `None` when it is null.
    unsafe {
        let buckets = alloc_zeroed(layout).cast::<Bucket>();
        if buckets.is_null() {
            handle_alloc_error(layout)
        }
        Box::from_raw(ptr::slice_from_raw_parts_mut(buckets, count))
    }
}

/// Frees buckets that are known to be empty without walking them. Were one not empty, its entries
/// would leak.
pub(super) fn free_empty_buckets(buckets: Box<[Bucket]>) {
    let count = buckets.len();
    let raw = Box::into_raw(buckets).cast::<mem::MaybeUninit<Bucket>>();
    // SAFETY: the same allocation with the same layout; `MaybeUninit` drops nothing.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(raw, count)) });
}

#[cfg(test)]
#[path = "raw_tests.rs"]
mod tests;
