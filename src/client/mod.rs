//! HTTP with one or many ODSs. Knows requests, not frames.

mod auth;
mod builder;
pub(crate) mod changes;
mod control;
mod discovery;
mod edfi_client;
mod flight;
pub(crate) mod metadata;
mod origins;
mod pace;
pub(crate) mod paging;
pub(crate) mod permits;
pub(crate) mod problem;
mod problem_errors;
pub(crate) mod profile;
mod renewal;
pub(crate) mod retry;
mod secret;
pub(crate) mod session;
mod token_cache;
pub(crate) mod token_info;
pub(crate) mod transport;
pub(crate) mod urls;

pub use self::auth::Token;
pub(crate) use self::auth::{Credentials, epoch};
pub use self::builder::EdFiClientBuilder;
pub use self::changes::ChangeVersions;
#[cfg(feature = "python")]
pub(crate) use self::control::Limiter;
pub use self::control::{CallStats, Control};
pub(crate) use self::edfi_client::Auth;
pub use self::edfi_client::{EdFiClient, STUDENT_ASSESSMENTS};
pub use self::paging::Paging;
pub(crate) use self::problem_errors::Details;
pub use self::problem_errors::ProblemError;
pub(crate) use self::renewal::Renewals;
pub use self::secret::Secret;
