//! The allocator of libc.

/// Has malloc(3) keep what is given back: memory that the kernel gets back and hands out again costs a page fault for each
/// page, which is a good part of what reading a long file costs. mallopt(3).
pub fn keep() {
    /// The most that glibc takes for both.
    const WHATEVER_IS_FREE: libc::c_int = 32 << 20;
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: two numbers are passed. A value that isn't taken changes nothing.
        unsafe { libc::mallopt(parameter, WHATEVER_IS_FREE) };
    }
}
