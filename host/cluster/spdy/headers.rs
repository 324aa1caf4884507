//! The headers of a stream: pairs of texts behind lengths, compressed in one piece of zlib for as long as the connection lives.

use std::sync::LazyLock;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The most that the headers of one stream may be, in bytes: a real client sends fewer than a hundred.
const LARGEST: usize = 16 << 10;

/// Words that compressed headers refer to though they were never sent (SPDY/3, 2.6.10.1), each behind its length.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow \
    authorization cache-control connection content-base content-encoding content-language content-length content-location content-md5 \
    content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range \
    if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after \
    server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200|OK version HTTP/1.1 \
    url public set-cookie keep-alive origin";
/// What follows them.
const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative \
    Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 \
    Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, \
    GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=\
    gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::with_capacity(1423);
    for word in WORDS.split(' ') {
        let word = word.replace('|', " ");
        bytes.extend(u32::try_from(word.len()).unwrap_or_default().to_be_bytes());
        bytes.extend(word.as_bytes());
    }
    bytes.extend(REST.as_bytes());
    bytes
});

/// The number by which zlib names a dictionary.
fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (a + b) % 65_521)
    });
    b << 16 | a
}

/// Reads the headers that a client sends.
pub(super) struct Inflater {
    raw: Decompress,
    has_begun: bool,
}

impl Inflater {
    pub(super) fn new() -> Inflater {
        Inflater { raw: Decompress::new(false), has_begun: false }
    }

    /// The headers of one frame; `None` when they are none, or too large. Nothing can be read after that.
    pub(super) fn headers(&mut self, block: &[u8]) -> Option<Vec<(String, String)>> {
        let block = if self.has_begun { block } else { self.begin(block)? };
        parse(&self.inflate(block, LARGEST)?)
    }

    /// What stands before the first piece: the format, and which dictionary is meant.
    fn begin<'a>(&mut self, block: &'a [u8]) -> Option<&'a [u8]> {
        self.has_begun = true;
        let (head, rest) = block.split_first_chunk::<2>()?;
        let [method, flags] = *head;
        if method & 15 != 8 || u16::from_be_bytes(*head) % 31 != 0 {
            return None;
        }
        if flags & 0x20 == 0 {
            return Some(rest);
        }
        let (number, rest) = rest.split_first_chunk::<4>()?;
        if u32::from_be_bytes(*number) != adler32(&DICTIONARY) {
            return None;
        }
        // The library takes no dictionary, but a piece that is stored as it is does the same: what follows refers back to it.
        let length = u16::try_from(DICTIONARY.len()).ok()?;
        let mut stored = vec![0];
        stored.extend(length.to_le_bytes());
        stored.extend((!length).to_le_bytes());
        stored.extend_from_slice(&DICTIONARY);
        self.inflate(&stored, DICTIONARY.len()).filter(|there| there.len() == DICTIONARY.len())?;
        Some(rest)
    }

    fn inflate(&mut self, mut block: &[u8], largest: usize) -> Option<Vec<u8>> {
        let mut text = Vec::with_capacity(largest + 1);
        loop {
            let (read, written) = (self.raw.total_in(), text.len());
            let status = self.raw.decompress_vec(block, &mut text, FlushDecompress::Sync).ok()?;
            block = block.get(usize::try_from(self.raw.total_in() - read).ok()?..)?;
            if text.len() > largest || matches!(status, Status::StreamEnd) {
                return None;
            }
            if block.is_empty() && text.len() == written || status == Status::BufError {
                return block.is_empty().then_some(text);
            }
        }
    }
}

fn parse(mut text: &[u8]) -> Option<Vec<(String, String)>> {
    let count = number(&mut text)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((word(&mut text)?, word(&mut text)?));
    }
    text.is_empty().then_some(headers)
}

fn number(text: &mut &[u8]) -> Option<usize> {
    let (number, rest) = text.split_first_chunk::<4>()?;
    *text = rest;
    usize::try_from(u32::from_be_bytes(*number)).ok()
}

fn word(text: &mut &[u8]) -> Option<String> {
    let length = number(text)?;
    let (word, rest) = text.split_at_checked(length)?;
    *text = rest;
    String::from_utf8(word.to_vec()).ok()
}

/// Writes the headers that a client reads. It needs no dictionary: a client takes both.
pub(super) struct Deflater(Compress);

impl Deflater {
    pub(super) fn new() -> Deflater {
        Deflater(Compress::new(Compression::fast(), true))
    }

    /// No headers at all, as the next piece.
    pub(super) fn none(&mut self) -> Vec<u8> {
        let mut block = Vec::with_capacity(64);
        // It fails for a stream that was ended, which this one never is.
        self.0.compress_vec(&0_u32.to_be_bytes(), &mut block, FlushCompress::Sync).map(|_| block).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_that_of_the_protocol() {
        assert_eq!((DICTIONARY.len(), adler32(&DICTIONARY)), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn headers_without_a_dictionary_are_read_too() {
        let mut compress = Compress::new(Compression::best(), true);
        let mut inflater = Inflater::new();
        for value in ["error", "stdout"] {
            let mut text = 1_u32.to_be_bytes().to_vec();
            for word in ["streamtype", value] {
                text.extend(u32::try_from(word.len()).unwrap().to_be_bytes());
                text.extend(word.as_bytes());
            }
            let mut block = Vec::with_capacity(256);
            compress.compress_vec(&text, &mut block, FlushCompress::Sync).unwrap();
            assert_eq!(inflater.headers(&block), Some(vec![("streamtype".to_owned(), value.to_owned())]));
        }
    }

    #[test]
    fn what_grows_too_much_is_refused() {
        let mut compress = Compress::new(Compression::best(), true);
        let mut block = Vec::with_capacity(1 << 20);
        compress.compress_vec(&vec![0; 1 << 20], &mut block, FlushCompress::Sync).unwrap();
        assert!(block.len() < 4096);
        assert_eq!(Inflater::new().headers(&block), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
        for _ in 0..3 {
            assert_eq!(inflater.headers(&deflater.none()), Some(Vec::new()));
        }
    }
}
