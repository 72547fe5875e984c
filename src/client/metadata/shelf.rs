//! Metadata that processes keep in a folder: lists and documents, by their URL and by what the
//! discovery document says of the ODS's release.
//!
//! A note for each URL names a body by its digest, so that districts share one. Both are replaced
//! as a whole; what is damaged, or of another version, is as good as absent.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use reqwest::Url;
use reqwest::header::HeaderValue;
use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};

use super::cache::Digest;

/// What notes are called that this version understands.
const FORMAT: &str = "polars-edfi metadata 1";
/// Some six hundred documents of the usual size; beyond it the oldest go.
const MOST_BYTES: u64 = 1 << 30;

/// A folder for the metadata of any number of ODSs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct MetadataFolder(Arc<Path>);

/// The place in a folder of one ODS in one release.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    folder: MetadataFolder,
    /// Version, build and data models; `None` where the ODS does not say, so that nothing is
    /// certain unless it is asked.
    release: Option<Arc<str>>,
}

/// What was kept of a URL.
pub(super) struct Kept {
    /// Where it was in the end.
    pub(super) at: Url,
    pub(super) etag: Option<HeaderValue>,
    /// The digest of its body.
    pub(super) digest: Digest,
    body: PathBuf,
}

impl Kept {
    /// Its body, if that is there and whole.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        let body = fs::read(&self.body).ok()?;
        (digest(&SHA256, &body).as_ref() == self.digest).then_some(body)
    }
}

#[derive(Serialize, Deserialize)]
struct Note {
    format: String,
    url: String,
    release: Option<String>,
    at: String,
    etag: Option<String>,
    body: String,
}

impl MetadataFolder {
    /// Makes the folder if there is none; the error says what is the matter with it.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let probe = path.join(format!(".{}.probe", std::process::id()));
        let made = File::create(&probe);
        let _ = fs::remove_file(&probe);
        made.map_err(failed)?;
        Ok(Self(path.into()))
    }

    pub(super) fn shelf(&self, release: Option<&str>) -> Shelf {
        Shelf {
            folder: self.clone(),
            release: release.map(Into::into),
        }
    }

    fn body(&self, digest: &str) -> PathBuf {
        self.0.join(format!("{digest}.json"))
    }
}

impl Shelf {
    /// Whether what was kept is of the release that the ODS has now.
    pub(super) fn knows_release(&self) -> bool {
        self.release.is_some()
    }

    /// What was kept of a URL.
    pub(super) fn find(&self, url: &Url) -> Option<Kept> {
        let note: Note = serde_json::from_slice(&fs::read(self.note(url)).ok()?).ok()?;
        let is_of_it = note.format == FORMAT
            && note.url == url.as_str()
            && note.release.as_deref() == self.release.as_deref();
        let digest = unhex(&note.body)?;
        if !is_of_it {
            return None;
        }
        let at = Url::parse(&note.at).ok()?;
        let etag = match note.etag {
            Some(text) => Some(HeaderValue::try_from(text).ok()?),
            None => None,
        };
        if at.origin() != url.origin() || etag.is_none() && self.release.is_none() {
            return None;
        }
        Some(Kept {
            at,
            etag,
            digest,
            body: self.folder.body(&hex(&digest)),
        })
    }

    /// Keeps the body of a URL, for whoever asks for the same of the same release.
    pub(super) fn keep(&self, url: &Url, at: &Url, etag: Option<&HeaderValue>, body: &[u8]) {
        if etag.is_none() && self.release.is_none() {
            return;
        }
        let note = Note {
            format: FORMAT.to_owned(),
            url: url.to_string(),
            release: self.release.as_deref().map(str::to_owned),
            at: at.to_string(),
            etag: etag.and_then(|etag| Some(etag.to_str().ok()?.to_owned())),
            body: hex(digest(&SHA256, body).as_ref()),
        };
        if let Err(error) = self.write(url, &note, body) {
            log::warn!("metadata_cache: a document could not be kept: {error}");
        }
    }

    fn write(&self, url: &Url, note: &Note, body: &[u8]) -> io::Result<()> {
        let place = self.folder.body(&note.body);
        // One that is damaged would be damaged for ever.
        if !fs::read(&place).is_ok_and(|there| there == body) {
            replace(&place, body)?;
            self.folder.make_room();
        }
        replace(&self.note(url), &serde_json::to_vec(note)?)
    }

    fn note(&self, url: &Url) -> PathBuf {
        let mut digest = Context::new(&SHA256);
        for part in [
            FORMAT,
            url.as_str(),
            self.release.as_deref().unwrap_or_default(),
        ] {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        let name = hex(digest.finish().as_ref());
        self.folder.0.join(format!("{name}.note"))
    }
}

impl MetadataFolder {
    /// Removes the oldest files of its own where all together are too large.
    fn make_room(&self) {
        let Ok(entries) = fs::read_dir(&self.0) else {
            return;
        };
        let about = |entry: DirEntry| -> Option<(SystemTime, u64, PathBuf)> {
            let path = entry.path();
            // The folder may hold files of others.
            let stem = path.file_stem().and_then(OsStr::to_str);
            let is_digest = stem.is_some_and(|stem| unhex(stem).is_some_and(|it| hex(&it) == stem));
            let is_own = is_digest
                && path
                    .extension()
                    .is_some_and(|end| end == "json" || end == "note");
            let about = entry
                .metadata()
                .ok()
                .filter(|about| is_own && about.is_file())?;
            Some((about.modified().ok()?, about.len(), path))
        };
        let mut files: Vec<_> = entries.flatten().filter_map(about).collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        let mut total = 0;
        for (_, size, path) in files {
            total += size;
            if total > MOST_BYTES {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Puts a whole file in the place of another one, if there is one.
fn replace(place: &Path, content: &[u8]) -> io::Result<()> {
    let new = place.with_extension(format!("{}-{:x}", std::process::id(), fastrand::u32(..)));
    let written = File::create_new(&new).and_then(|mut file| file.write_all(content));
    let done = written.and_then(|()| fs::rename(&new, place));
    if done.is_err() {
        let _ = fs::remove_file(&new);
    }
    done
}

fn unhex(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() || !text.is_ascii() {
        return None;
    }
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(digest)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
