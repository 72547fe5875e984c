//! Tokens that the processes of one user share, in a folder that nobody else can read.
//!
//! Each client has a file, named by a digest that tells nothing, and replaced as a whole: who reads
//! it needs no lock. Who fetches or drops a token holds the lock of a file beside it, which the
//! system takes back when a process ends, however that comes.

use std::borrow::Cow;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::auth::{LONGEST_LIFETIME, LONGEST_TOKEN, Token};
use super::control::Cancellation;
use super::permits::{self, Rank};
use super::secret::Secret;
use crate::Failure;

/// What files are called whose content this version understands.
const FORMAT: &str = "polars-edfi token 1";
/// Longer than a request for a token takes. The lock of a process that was killed outlives it only
/// in a child that it had forked at that moment, and a process that was stopped gives nothing back.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// A file of tokens is not larger.
const LARGEST: u64 = 4 * LONGEST_TOKEN as u64;

/// A folder that only this user can read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenFolder(Arc<Path>);

/// Where the token of one client is.
#[derive(Debug)]
pub(super) struct TokenFile {
    owner: String,
    token: PathBuf,
    lock: PathBuf,
}

/// The lock of one client's token, until it is dropped.
#[derive(Debug)]
pub(super) struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // To close it is not enough where a child has it open as well, as after a fork.
        let _ = self.0.unlock();
    }
}

/// What came of waiting for the right to fetch.
#[derive(Debug)]
pub(super) enum Turn {
    /// Somebody else has fetched meanwhile.
    Found(Token),
    /// This process may fetch; without a lock where nobody can have one, or gives it back.
    Fetch(Option<Held>),
}

#[derive(Serialize, Deserialize)]
struct Content<'a> {
    format: Cow<'a, str>,
    owner: Cow<'a, str>,
    token: Cow<'a, str>,
    /// Seconds since 1970, as the two below.
    written_at: f64,
    renew_at: f64,
    expires_at: f64,
}

impl TokenFolder {
    /// Makes the folder if there is none; the error says what is the matter with it.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        create(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        // Whether files can be made there, and whose they are. Threads try it at once, and one that was
        // killed meanwhile has left its file.
        let process = std::process::id();
        let probe = path.join(format!(".{process}-{:x}.probe", fastrand::u64(..)));
        let made = private(&probe).and_then(|file| file.metadata());
        let _ = fs::remove_file(&probe);
        let made = made.map_err(failed)?;
        check(&path, &path.metadata().map_err(failed)?, &made)?;
        Ok(Self(path.into()))
    }

    /// The place of the token that a client is given at a URL for a secret of that digest.
    pub(super) fn file(&self, token_url: &str, client_id: &str, secret: &[u8; 32]) -> TokenFile {
        let mut digest = Context::new(&SHA256);
        for part in [
            FORMAT.as_bytes(),
            token_url.as_bytes(),
            client_id.as_bytes(),
            secret,
        ] {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let bytes = digest.finish();
        let owner: String = bytes
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        TokenFile {
            token: self.0.join(format!("{owner}.json")),
            lock: self.0.join(format!("{owner}.lock")),
            owner,
        }
    }
}

impl TokenFile {
    /// The token that is there, if it has some life left. What is no such file holds none.
    pub(super) fn read(&self) -> Option<Token> {
        let about = fs::symlink_metadata(&self.token).ok()?;
        if !about.is_file() || about.len() > LARGEST || !is_private(&about) {
            return None;
        }
        let bytes = fs::read(&self.token).ok()?;
        let content: Content<'_> = serde_json::from_slice(&bytes).ok()?;
        content.token(&self.owner).filter(Token::is_fresh)
    }

    /// Waits until this process may fetch, or until there is a token that is usable, but no longer than
    /// it would wait for the server.
    pub(super) async fn turn(
        &self,
        usable: impl Fn(&Token) -> bool + Send + Sync,
        patience: Duration,
        cancellation: &Cancellation,
    ) -> Result<Turn, Failure> {
        let found = || self.read().filter(&usable);
        if let Some(token) = found() {
            return Ok(Turn::Found(token));
        }
        let file = match private_or_there(&self.lock) {
            Ok(file) => file,
            Err(error) => {
                log::warn!("token_cache: no lock, so the token is not shared: {error}");
                return Ok(Turn::Fetch(None));
            }
        };
        let end = Instant::now() + patience.min(LONGEST_WAIT);
        let mut pause = FIRST_PAUSE;
        // The system's own wait would hold up a thread that drives other requests.
        while file.try_lock().is_err() {
            if Instant::now() >= end {
                log::warn!("token_cache: another process has the lock for too long");
                return Ok(Turn::Fetch(None));
            }
            let sleep = cancellation.sleep(pause);
            if permits::lend(Rank::Again, sleep).await.is_err() {
                return Err(Failure::not_sent());
            }
            if let Some(token) = found() {
                return Ok(Turn::Found(token));
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let held = Held(file);
        Ok(match found() {
            Some(token) => Turn::Found(token),
            None => Turn::Fetch(Some(held)),
        })
    }

    /// Puts a token in the place of the one before.
    pub(super) fn keep(&self, token: &Token) {
        if let Err(error) = self.write(token) {
            log::warn!("token_cache: the token could not be kept: {error}");
        }
    }

    fn write(&self, token: &Token) -> io::Result<()> {
        let Some(content) = Content::of(token, &self.owner) else {
            return Ok(());
        };
        let new = self.token.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut file = private(&new)?;
        file.write_all(&serde_json::to_vec(&content)?)?;
        drop(file);
        fs::rename(&new, &self.token)
    }

    /// Drops the token whatever it is: its client is refused.
    pub(super) fn clear(&self) {
        let _ = fs::remove_file(&self.token);
    }

    /// Drops a token that a server refused, unless there is another one by now. Who has the lock
    /// is about to replace it.
    pub(super) fn forget(&self, refused: &Secret) {
        let Ok(file) = private_or_there(&self.lock) else {
            return;
        };
        if file.try_lock().is_err() {
            return;
        }
        let _held = Held(file);
        if self.read().is_some_and(|token| token.token == *refused) {
            self.clear();
        }
    }
}

impl<'a> Content<'a> {
    fn of(token: &'a Token, owner: &'a str) -> Option<Self> {
        Some(Self {
            format: FORMAT.into(),
            owner: owner.into(),
            token: token.token.reveal().into(),
            written_at: seconds(SystemTime::now()),
            renew_at: seconds(token.renew_at?),
            expires_at: seconds(token.expires_at?),
        })
    }

    fn token(&self, owner: &str) -> Option<Token> {
        let token = Secret::new(&self.token);
        let now = seconds(SystemTime::now());
        // A clock that was set back would keep a token for ever.
        let is_of_now = self.written_at <= now + 60.0;
        let lasts = self.renew_at.max(self.expires_at) < now + LONGEST_LIFETIME;
        let is_token = (1..=LONGEST_TOKEN).contains(&token.len()) && token.bearer().is_some();
        let is_own = self.format == FORMAT && self.owner == owner;
        (is_own && is_token && is_of_now && lasts).then(|| Token {
            token,
            expires_at: Some(super::auth::epoch(self.expires_at)),
            renew_at: Some(super::auth::epoch(self.renew_at)),
        })
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// Makes a folder for this user alone; one that is there stays as it is.
fn create(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes a file for this user alone.
fn private(path: &Path) -> io::Result<File> {
    options().create_new(true).open(path)
}

fn private_or_there(path: &Path) -> io::Result<File> {
    options().create(true).truncate(false).open(path)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Checks that a folder is for this user alone, as what was made in it is this user's.
#[cfg(unix)]
fn check(path: &Path, folder: &fs::Metadata, own: &fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let path = path.display();
    if folder.uid() != own.uid() {
        return Err(format!(
            "{path} belongs to another user; name a folder of your own"
        ));
    }
    match folder.permissions().mode() & 0o777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(format!(
            "{path} can be entered by others (mode {mode:o}), and tokens are secrets; chmod 700 \
             it, or name a folder that is not there yet"
        )),
    }
}

/// What others may do in a folder is told by lists that are not looked at here.
#[cfg(not(unix))]
fn check(_: &Path, _: &fs::Metadata, _: &fs::Metadata) -> Result<(), String> {
    Ok(())
}

#[cfg(unix)]
fn is_private(about: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;

    about.permissions().mode() & 0o077 == 0
}

#[cfg(not(unix))]
fn is_private(_: &fs::Metadata) -> bool {
    true
}
