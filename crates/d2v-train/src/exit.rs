//! How the program ends: the exit codes that other tools rely on.

use std::fmt;

use crate::Error;
use crate::schedule::ScheduleError;
use crate::settings::SettingsError;
use crate::signals::Signal;

/// Why the program ends, each with its exit code.
///
/// It is also the note by which an error says what kind it is: attached with `.context(Exit::Data)` anywhere on an error's way up,
/// it is found again by [`Exit::of`].
///
/// ```
/// use anyhow::{Context, anyhow};
/// use d2v_train::exit::Exit;
///
/// let error = anyhow!("/my/pictures has no pictures").context(Exit::Data).context("cannot start the run");
/// assert_eq!(Exit::of(&error).code(), 3);
/// assert_eq!(format!("{error:#}"), "cannot start the run: the data cannot be used: /my/pictures has no pictures");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: did what was asked.
    Done,
    /// 1: any other failure, such as a full disk or no intact checkpoint.
    Failed,
    /// 2: wrong usage or configuration.
    Usage,
    /// 3: the data cannot be used.
    Data,
    /// 4: training diverged or collapsed.
    Diverged,
    /// 130 or 143: stopped by a signal, after saving.
    Signal(Signal),
}

impl Exit {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Data => 3,
            Self::Diverged => 4,
            Self::Signal(signal) => signal.exit_code(),
        }
    }

    /// How a program ends that ends with this error: as the outermost `Exit` attached to it says, else by the kind of the error,
    /// else [`Exit::Failed`].
    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(exit) = error.downcast_ref::<Self>() {
            return *exit;
        }
        error.chain().find_map(Self::of_cause).unwrap_or(Self::Failed)
    }

    /// What one error in a chain says of its kind.
    fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if cause.is::<SettingsError>() || cause.is::<ScheduleError>() {
            return Some(Self::Usage);
        }
        match cause.downcast_ref::<Error>()? {
            Error::Config { .. }
            | Error::OtherConfiguration { .. }
            | Error::Schedule(_)
            | Error::NothingHidden { .. } => Some(Self::Usage),
            Error::Torch(d2v_torch::Error::UnknownDevice(_) | d2v_torch::Error::CudaUnavailable(_)) => {
                Some(Self::Usage)
            }
            // A setting of the data, not the data.
            Error::Data(d2v_data::Error::Setting { .. }) => Some(Self::Usage),
            // What these refuse was configured.
            Error::Masking(_)
            | Error::Encoder(_)
            | Error::Transformer(_)
            | Error::Ema(_)
            | Error::Targets(_) => Some(Self::Usage),
            Error::Data(_) => Some(Self::Data),
            Error::Evaluate(error) => Some(error.exit()),
            Error::Weights(error) => Some(error.exit()),
            _ => None,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => write!(f, "done"),
            Self::Failed => write!(f, "failed"),
            Self::Usage => write!(f, "the request cannot be met as given"),
            Self::Data => write!(f, "the data cannot be used"),
            Self::Diverged => write!(f, "training does not learn any more"),
            Self::Signal(signal) => write!(f, "stopped by {signal}"),
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;
    use crate::settings::Override;

    #[track_caller]
    fn check(error: &anyhow::Error, expected: u8) {
        assert_eq!(Exit::of(error).code(), expected, "{error:#}");
    }

    #[test]
    fn errors_end_with_the_code_of_their_kind() {
        let settings = || anyhow::Error::from("nonsense".parse::<Override>().unwrap_err());
        check(&anyhow!("disk full"), 1);
        check(&settings(), 2);
        check(&settings().context("cannot start"), 2);
        check(&anyhow::Error::from(ScheduleError::NoSteps), 2);
        check(&anyhow::Error::from(Error::from(ScheduleError::NoSteps)).context("cannot start"), 2);
        check(&anyhow::Error::from(Error::NothingHidden { update: 1 }), 2);
        let other =
            |key: &str| Error::OtherConfiguration { key: key.into(), before: "1".into(), now: "2".into() };
        check(&anyhow::Error::from(other("seed")), 2);
        check(&anyhow::Error::from(Error::from(d2v_torch::Error::UnknownDevice("gpu".into()))), 2);
        let setting =
            d2v_data::Error::Setting { setting: "threads", value: "0".into(), rule: "must be at least 1" };
        check(&anyhow::Error::from(Error::from(setting)), 2);
        let empty = d2v_data::Error::NothingMatches { pattern: "*.tar".into() };
        check(&anyhow::Error::from(Error::from(empty)), 3);
        check(&anyhow!("no pictures").context(Exit::Data).context("cannot start"), 3);
        check(&settings().context(Exit::Data), 3);
        check(&Err::<(), _>(anyhow!("NaN")).context(Exit::Diverged).unwrap_err(), 4);
        check(&anyhow!("").context(Exit::Signal(Signal::Interrupt)), 130);
        check(&anyhow!("").context(Exit::Signal(Signal::Terminate)), 143);
    }
}
