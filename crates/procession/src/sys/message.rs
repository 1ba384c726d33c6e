//! Messages that carry descriptors, over a pair of sockets without a name: unix(7), `SOCK_SEQPACKET`.

use rustix::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{self, Errno};

/// The most descriptors that the kernel lets one message carry.
pub const MOST_DESCRIPTORS: usize = 253;

const CONTROL_BYTES: usize = 2048;

/// Room for control messages, aligned as their headers want it.
#[repr(C, align(16))]
struct Control([u8; CONTROL_BYTES]);

/// A message that was received.
pub struct Received {
    /// Its length.
    pub len: usize,
    /// The descriptors that came with it, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
    /// Real user and group of its sender, as the kernel says.
    pub sender: Option<(u32, u32)>,
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(last_error())
    } else {
        Ok(result)
    }
}

fn last_error() -> Errno {
    std::io::Error::last_os_error()
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}

/// A pair of sockets, (to send, to receive): what is sent says who sent it.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for two descriptors, which are ours from here on.
    let (send, receive) = unsafe {
        checked(libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()))?;
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    };
    let yes: libc::c_int = 1;
    for end in [&send, &receive] {
        // SAFETY: the value is an int that lives through the call.
        checked(unsafe {
            libc::setsockopt(
                end.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PASSCRED,
                (&raw const yes).cast(),
                size_of_val(&yes) as libc::socklen_t,
            )
        })?;
    }
    Ok((send, receive))
}

/// What tells a socket from every other since the system started; `None` if the descriptor is none.
pub fn cookie(socket: RawFd) -> Option<u64> {
    let mut cookie = 0_u64;
    let mut len = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: the value has as many bytes as `len` says; a wrong descriptor is an error.
    let done = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    (done == 0).then_some(cookie)
}

/// Sends a message with descriptors; `Err(AGAIN)` if there is no room for it now.
pub fn send_now(socket: RawFd, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<()> {
    if descriptors.len() > MOST_DESCRIPTORS {
        return Err(Errno::INVAL);
    }
    let mut control = Control([0; CONTROL_BYTES]);
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let data = size_of_val(descriptors) as u32;
    // SAFETY: the header and what it points to live through the call; the control message is written within
    // its buffer, which has room for the most descriptors.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        if !descriptors.is_empty() {
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(data) as _;
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(data) as _;
            let into = libc::CMSG_DATA(first);
            std::ptr::copy_nonoverlapping(descriptors.as_ptr().cast(), into, data as usize);
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        if libc::sendmsg(socket, &raw const header, flags) < 0 {
            return Err(last_error());
        }
    }
    Ok(())
}

/// Waits for a message and receives it; with `now`, `Err(AGAIN)` if there is none.
pub fn receive(socket: RawFd, into: &mut [u8], now: bool) -> io::Result<Received> {
    received(socket, into, if now { libc::MSG_DONTWAIT } else { 0 })
}

/// The next message, with copies of its descriptors; it stays where it is. `Err(AGAIN)` if there is none.
pub fn peek(socket: RawFd, into: &mut [u8]) -> io::Result<Received> {
    received(socket, into, libc::MSG_DONTWAIT | libc::MSG_PEEK)
}

fn received(socket: RawFd, into: &mut [u8], flags: libc::c_int) -> io::Result<Received> {
    let mut control = Control([0; CONTROL_BYTES]);
    let mut part = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let mut received = Received {
        len: 0,
        descriptors: Vec::new(),
        sender: None,
    };
    let flags = flags | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the header and its buffers live through the call; the kernel writes control messages that lie
    // within the length it leaves, and the descriptors in them are ours from here on.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_BYTES as _;
        let len = libc::recvmsg(socket, &raw mut header, flags);
        if len < 0 {
            return Err(last_error());
        }
        received.len = len as usize;
        let mut each = libc::CMSG_FIRSTHDR(&raw const header);
        while !each.is_null() {
            let data = libc::CMSG_DATA(each);
            let bytes = (*each).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
            match ((*each).cmsg_level, (*each).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for index in 0..bytes / size_of::<RawFd>() {
                        let fd = data.cast::<RawFd>().add(index).read_unaligned();
                        received.descriptors.push(OwnedFd::from_raw_fd(fd));
                    }
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                    let sender = data.cast::<libc::ucred>().read_unaligned();
                    received.sender = Some((sender.uid, sender.gid));
                }
                _ => {}
            }
            each = libc::CMSG_NXTHDR(&raw const header, each);
        }
    }
    Ok(received)
}
