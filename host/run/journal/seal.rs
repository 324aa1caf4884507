//! The key of a folder of runs, which lies in none of the runs: what is in a run's folder is marked with it, so that who can only write there
//! makes nothing that is gone on from; and what a file beside the journal must hold word by word, and nobody may read there, is sealed.
//!
//! Lines of journals and answers to questions carry an HMAC-SHA256 of themselves under a key of their run.
//!
//! A simulated cluster is made again from what it was asked, Secrets and the releases of a helm included: without these it is another
//! cluster. Their text is sealed with a key that lies in the folder of runs, beside the runs and in none of them. So whoever gets the
//! folder of a run, as a report of a fault or an archive, has none of its secrets; whoever can read the key can read the operator's
//! kubeconfig as well. Of a live cluster nothing is sealed: what a run needs of its Secrets again is read again there.
//!
//! The text is hidden by HMAC-SHA256 of a random number and a counter (a pseudorandom function in counter mode), and bound to what it is
//! about by another HMAC: what was changed, or put in another place, does not open.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use hmac::{Hmac, KeyInit as _, Mac as _};
use nix::unistd;
use sha2::Sha256;

use super::chain::hex;
use super::folder::{Runs, private_file};
use super::io::plain;
use crate::base::base64;
use crate::base::{Error, Kind, Reason, Result};

/// The name of the key in the folder of runs.
const SEAL: &str = "seal";
/// The length of a key, a random number and a tag, in bytes.
const LENGTH: usize = 32;

/// Seals and opens with the key of one folder of runs.
pub(super) struct Seal {
    text: [u8; LENGTH],
    tag: [u8; LENGTH],
    mark: [u8; LENGTH],
}

/// Makes the marks of one run.
#[derive(Clone)]
pub(in crate::run) struct Marks([u8; LENGTH]);

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("marks")
    }
}

impl Marks {
    /// Those of this run, with the key that is there.
    ///
    /// # Errors
    /// As [`Seal::find`].
    pub(in crate::run) fn of(runs: &Runs, run: &str) -> Result<Marks> {
        Ok(Marks(keyed(&Seal::find(runs)?.mark, &[run.as_bytes()])))
    }

    /// The mark under these parts.
    pub(in crate::run) fn under(&self, parts: &[&[u8]]) -> String {
        let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
        let each: Vec<&[u8]> = lengths.iter().zip(parts).flat_map(|(length, part)| [&length[..], *part]).collect();
        hex(&keyed(&self.0, &each))
    }

    /// Whether this is it.
    pub(in crate::run) fn is_under(&self, mark: &str, parts: &[&[u8]]) -> bool {
        // In the same time wherever they differ.
        let own = self.under(parts);
        own.len() == mark.len() && own.bytes().zip(mark.bytes()).fold(0, |differs, (own, given)| differs | (own ^ given)) == 0
    }
}

impl Seal {
    /// With the key of this folder, which is made when there is none.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub(super) fn make(runs: &Runs) -> Result<Seal> {
        made(runs).map_err(|error| Error::internal(format!("the key `{}` cannot be made", path(runs).display())).cause(plain(&error)))?;
        Seal::find(runs)
    }

    /// With the key that is there.
    ///
    /// # Errors
    /// When there is none, or it is none that only its owner can read.
    pub(super) fn find(runs: &Runs) -> Result<Seal> {
        let path = path(runs);
        let refused = |why: String| {
            Error::new(Kind::Refused, Reason::Refused, format!("the key `{}` is not there", path.display()))
                .cause(why)
                .hint("no copy of a run's folder holds its secrets: go on where the run began, or begin it again")
        };
        // What is not there is told by the reading.
        path.symlink_metadata().map_or(Ok(()), |_| super::folder::check(&path, false))?;
        let key = fs::read(&path).map_err(|error| refused(plain(&error)))?;
        if key.len() != LENGTH {
            return Err(refused(format!("it has {} bytes instead of {LENGTH}", key.len())));
        }
        let of = |what: &[u8]| keyed(&key, &[what]);
        Ok(Seal { text: of(b"lockgate text"), tag: of(b"lockgate tag"), mark: of(b"lockgate mark") })
    }

    /// The text, sealed, as base64.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub(super) fn seal(&self, about: &str, plain: &[u8]) -> io::Result<String> {
        let mut sealed = random()?.to_vec();
        let mut hidden = plain.to_vec();
        self.mask(&sealed, &mut hidden);
        sealed.extend(hidden);
        let tag = keyed(&self.tag, &[&(about.len() as u64).to_be_bytes(), about.as_bytes(), &sealed]);
        sealed.extend(tag);
        Ok(base64::encode(&sealed))
    }

    /// The text again; none when it was sealed with another key or about something else, or was changed.
    pub(super) fn open(&self, about: &str, sealed: &str) -> Option<Vec<u8>> {
        let sealed = base64::decode(sealed)?;
        let (rest, tag) = sealed.split_at_checked(sealed.len().checked_sub(LENGTH)?)?;
        let length = (about.len() as u64).to_be_bytes();
        let expected = Hmac::<Sha256>::new_from_slice(&self.tag).ok()?.chain_update(length).chain_update(about).chain_update(rest);
        expected.verify_slice(tag).ok()?;
        let (number, hidden) = rest.split_at_checked(LENGTH)?;
        let mut plain = hidden.to_vec();
        self.mask(number, &mut plain);
        Some(plain)
    }

    /// Hides what is plain, and shows what is hidden.
    fn mask(&self, number: &[u8], text: &mut [u8]) {
        for (counter, block) in (0_u64..).zip(text.chunks_mut(LENGTH)) {
            let mask = keyed(&self.text, &[number, &counter.to_be_bytes()]);
            block.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        }
    }
}

/// Where it lies: in a folder that several share, such as `/tmp`, each has one.
pub(super) fn path(runs: &Runs) -> PathBuf {
    let own = unistd::geteuid();
    match runs.path().metadata() {
        Ok(root) if root.uid() != own.as_raw() => runs.path().join(format!("{SEAL}-{own}")),
        _ => runs.path().join(SEAL),
    }
}

/// Makes the key, where there is none. Of two that do so at the same time, one's stands.
pub(super) fn made(runs: &Runs) -> io::Result<()> {
    let path = &path(runs);
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let half = path.with_extension(unistd::getpid().to_string());
    match fs::remove_file(&half) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    private_file(&half, &random()?)?;
    let linked = fs::hard_link(&half, path);
    fs::remove_file(&half)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()),
    }
}

/// HMAC-SHA256 of these parts.
fn keyed(key: &[u8], parts: &[&[u8]]) -> [u8; LENGTH] {
    // A key of any length is one of HMAC's.
    let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; LENGTH] };
    parts.iter().for_each(|part| hmac.update(part));
    hmac.finalize().into_bytes().into()
}

/// Random bytes of the system.
pub(super) fn random() -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs() -> (tempfile::TempDir, Runs) {
        let root = tempfile::tempdir().unwrap();
        let runs = Runs::at(root.path());
        (root, runs)
    }

    #[test]
    fn what_is_sealed_opens_again_and_shows_nothing() {
        let (_root, runs) = runs();
        let seal = Seal::make(&runs).unwrap();
        for length in [0, 1, 31, 32, 33, 1000] {
            let plain: Vec<u8> = b"hunter2 ".iter().copied().cycle().take(length).collect();
            let sealed = seal.seal("POST /x", &plain).unwrap();
            assert_eq!(Seal::make(&runs).unwrap().open("POST /x", &sealed), Some(plain.clone()));
            let raw = base64::decode(&sealed).unwrap();
            assert!(length < 8 || !raw.windows(7).any(|part| part == b"hunter2"), "{length}");
            assert_ne!(seal.seal("POST /x", &plain).unwrap(), sealed, "equal texts look different");
            assert_eq!(seal.open("POST /y", &sealed), None, "it is about something else");
            for place in 0..raw.len() {
                let mut changed = raw.clone();
                changed[place] ^= 1;
                assert_eq!(seal.open("POST /x", &base64::encode(&changed)), None, "byte {place} of {length}");
            }
        }
        assert_eq!(seal.open("POST /x", "c2hvcnQ="), None);
        assert_eq!(seal.open("POST /x", "no base64"), None);
    }

    #[test]
    fn a_mark_is_of_its_run_and_of_its_parts() {
        let ((_one, here), (_other, there)) = (runs(), runs());
        assert!(Marks::of(&here, "A").is_err(), "without a key there are no marks");
        assert!(Seal::make(&here).is_ok() && Seal::make(&there).is_ok());
        let marks = Marks::of(&here, "A").unwrap();
        let mark = marks.under(&[b"ab", b"c"]);
        assert!(Marks::of(&here, "A").unwrap().is_under(&mark, &[b"ab", b"c"]));
        assert!(!marks.is_under(&mark, &[b"a", b"bc"]) && !marks.is_under(&mark, &[b"abc"]) && !marks.is_under("", &[b"ab", b"c"]));
        for (runs, run) in [(&here, "B"), (&there, "A")] {
            assert!(!Marks::of(runs, run).unwrap().is_under(&mark, &[b"ab", b"c"]));
        }
    }

    #[test]
    fn another_folder_has_another_key() {
        let ((_one, here), (_other, there)) = (runs(), runs());
        let sealed = Seal::make(&here).unwrap().seal("a", b"text").unwrap();
        assert_eq!(Seal::make(&there).unwrap().open("a", &sealed), None);
    }

    #[test]
    fn a_key_that_is_not_ours_alone_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_root, runs) = runs();
        assert!(Seal::find(&runs).is_err());
        Seal::make(&runs).unwrap();
        let path = path(&runs);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(Seal::find(&runs).is_err_and(|error| error.to_string().contains("is not safe to go on from")));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(Seal::find(&runs).is_err_and(|error| error.causes.iter().any(|cause| cause.contains("5 bytes instead of 32"))));
    }
}
