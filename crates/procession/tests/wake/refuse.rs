//! A kernel, or a container's filter, that refuses futex_waitv: a filter of this process and all its children.

use rustix::io::Errno;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// From now on futex_waitv fails with this error.
pub fn waitv(error: Errno) {
    let row = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let answer = libc::SECCOMP_RET_ERRNO | error.raw_os_error() as u32;
    let mut rows = [
        // The number of the call is the first word that a filter is given.
        row(LOAD, 0, 0, 0),
        row(EQUAL, 0, 1, libc::SYS_futex_waitv as u32),
        row(RETURN, 0, 0, answer),
        row(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: rows.len() as u16,
        filter: rows.as_mut_ptr(),
    };
    // SAFETY: numbers, and a program that lives through the call, which copies it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
    };
    assert!(done, "a process may filter its own calls");
    // SAFETY: no words, so the kernel reads none; it is refused in any case.
    let refused = unsafe { libc::syscall(libc::SYS_futex_waitv, 0, 0, 0, 0, 0) };
    let why = std::io::Error::last_os_error().raw_os_error();
    assert_eq!((refused, why), (-1, Some(error.raw_os_error())));
}
