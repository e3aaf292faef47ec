//! The allocator of libc.

/// How many bytes are kept: the most that glibc takes.
pub const KEPT: usize = 32 << 20;

/// Has malloc(3) keep what is given back: memory that the kernel gets back and hands out again costs a page fault for each
/// page, which is a good part of what reading a long file costs. mallopt(3).
pub fn keep() {
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: two numbers are passed. A value that isn't taken changes nothing.
        unsafe { libc::mallopt(parameter, KEPT as libc::c_int) };
    }
}

/// Has what is allocated next, up to so many bytes, lie in huge pages where the kernel has some: they are cleared at once, instead of
/// by a page fault each. madvise(2), `MADV_HUGEPAGE`.
pub fn expect(bytes: usize) {
    const PAGE: usize = 4096;
    // What is given back is what malloc hands out next.
    let block: Vec<u8> = Vec::with_capacity(bytes);
    let start = (block.as_ptr() as usize).next_multiple_of(PAGE);
    let end = (block.as_ptr() as usize + bytes) & !(PAGE - 1);
    if start < end {
        // SAFETY: the pages lie within a block that is ours. The advice changes nothing that is in them; where it isn't taken all
        // is as before.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
    }
}
