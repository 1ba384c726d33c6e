//! What older kernels or the filters of containers refuse: a filter of system calls in this process and all its children.

use rustix::io::Errno;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

// Where a filter finds the number of the call, and the low half of its second argument, on little-endian machines.
const NUMBER: u32 = 0;
const SECOND: u32 = 24;

const fn row(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// From now on futex_waitv fails with this error.
pub fn waitv(error: Errno) {
    filter(&mut [
        row(LOAD, 0, 0, NUMBER),
        row(EQUAL, 0, 1, libc::SYS_futex_waitv as u32),
        row(RETURN, 0, 0, answer(error)),
        row(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]);
    // SAFETY: no words, so the kernel reads none; it is refused in any case.
    let refused = unsafe { libc::syscall(libc::SYS_futex_waitv, 0, 0, 0, 0, 0) };
    let why = std::io::Error::last_os_error().raw_os_error();
    assert_eq!((refused, why), (-1, Some(error.raw_os_error())));
}

/// From now on a pidfd tells nothing of a process that was reaped, as before Linux 6.15.
pub fn pidfd_info() {
    const GET_INFO: u32 = 0xc040_ff0b;
    filter(&mut [
        row(LOAD, 0, 0, NUMBER),
        row(EQUAL, 0, 3, libc::SYS_ioctl as u32),
        row(LOAD, 0, 0, SECOND),
        row(EQUAL, 0, 1, GET_INFO),
        row(RETURN, 0, 0, answer(Errno::NOTTY)),
        row(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]);
}

/// From now on nobody learns of what kind a file system is, and so that pidfds have one of their own, as from Linux 6.9 on.
pub fn numbers() {
    filter(&mut [
        row(LOAD, 0, 0, NUMBER),
        row(EQUAL, 0, 1, libc::SYS_fstatfs as u32),
        row(RETURN, 0, 0, answer(Errno::PERM)),
        row(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]);
}

fn answer(error: Errno) -> u32 {
    libc::SECCOMP_RET_ERRNO | error.raw_os_error() as u32
}

fn filter(rows: &mut [libc::sock_filter]) {
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
}
