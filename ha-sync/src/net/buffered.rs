//! The TCP connection under TLS: read in large pieces, because TLS itself asks for 4 KiB at a time, and with a memory of its
//! first octets, by which a failed handshake is told from a peer that speaks something else.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::preamble;

/// Octets read from the kernel at once.
const BUFFER_LEN: usize = 128 << 10;

/// A TCP connection with a read buffer.
#[derive(Debug)]
pub(super) struct Buffered {
    stream: TcpStream,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    first: [u8; preamble::LEN],
    first_len: usize,
}

impl Buffered {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: vec![0; BUFFER_LEN].into_boxed_slice(),
            start: 0,
            end: 0,
            first: [0; preamble::LEN],
            first_len: 0,
        }
    }

    /// The first octets that came, up to a preamble's length.
    pub(super) fn first(&self) -> &[u8] {
        self.first.get(..self.first_len).unwrap_or_default()
    }

    fn remember(&mut self) {
        let free = self.first.iter_mut().skip(self.first_len);
        let came = self.buffer.get(self.start..self.end).unwrap_or_default();
        self.first_len += free.zip(came).map(|(to, from)| *to = *from).count();
    }
}

impl AsyncRead for Buffered {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.start == this.end {
            let mut space = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut space))?;
            (this.start, this.end) = (0, space.filled().len());
            if this.first_len < this.first.len() {
                this.remember();
            }
        }
        let came = this.buffer.get(this.start..this.end).unwrap_or_default();
        let fits = came.get(..came.len().min(to.remaining())).unwrap_or_default();
        to.put_slice(fits);
        this.start += fits.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Buffered {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, from)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// A connection, secured or not.
#[derive(Debug)]
pub(super) enum Wire {
    /// `security = "none"`.
    Plain(Buffered),
    /// TLS 1.3.
    Tls(Box<TlsStream<Buffered>>),
}

impl Wire {
    /// The first octets that came, before decryption.
    pub(super) fn first(&self) -> &[u8] {
        match self {
            Self::Plain(stream) => stream.first(),
            Self::Tls(stream) => stream.get_ref().0.first(),
        }
    }
}

/// The same call on whichever it is.
macro_rules! either {
    ($this:expr, $stream:ident => $call:expr) => {
        match $this.get_mut() {
            Wire::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Wire::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(context, to))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(context, from))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(context))
    }
}
