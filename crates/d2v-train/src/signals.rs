//! SIGINT and SIGTERM: the first asks the run to finish its step, save and end; the second ends at once.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// A signal that asks a run to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C in the terminal.
    Interrupt,
    /// SIGTERM: `kill`, a batch system, a shutdown.
    Terminate,
}

impl Signal {
    const ALL: [Self; 2] = [Self::Interrupt, Self::Terminate];

    fn number(self) -> i32 {
        match self {
            Self::Interrupt => SIGINT,
            Self::Terminate => SIGTERM,
        }
    }

    /// 130 or 143, by the custom of shells: 128 and the number of the signal.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// The signals that have arrived since [`Signals::install`].
#[derive(Debug, Clone)]
pub struct Signals {
    /// 0, or the number of the signal that arrived first.
    arrived: Arc<AtomicUsize>,
}

impl Signals {
    /// Takes over SIGINT and SIGTERM, until the process ends.
    ///
    /// From then on the first of them is only noted, for [`requested`](Self::requested); the next one, of either kind, ends the
    /// process at once with its exit code, without saving.
    ///
    /// # Errors
    /// If the system does not let the signals be handled.
    pub fn install() -> io::Result<Self> {
        let arrived = Arc::new(AtomicUsize::new(0));
        let end_at_once = Arc::new(AtomicBool::new(false));
        for signal in Signal::ALL {
            let number = signal.number();
            // Handlers run in this order: the first signal passes the shutdown, and arms it for the next.
            flag::register_conditional_shutdown(
                number,
                i32::from(signal.exit_code()),
                Arc::clone(&end_at_once),
            )?;
            flag::register_usize(number, Arc::clone(&arrived), number as usize)?;
            flag::register(number, Arc::clone(&end_at_once))?;
        }
        Ok(Self { arrived })
    }

    /// The signal that asks the run to stop, if one has arrived. Cheap: ask after every step.
    pub fn requested(&self) -> Option<Signal> {
        let number = self.arrived.load(Ordering::Relaxed);
        Signal::ALL.into_iter().find(|signal| signal.number() as usize == number)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    /// In the child: where the test runs itself again.
    const CHILD: &str = "D2V_TEST_SIGNALS_CHILD";

    /// What the child of [`signals_of_a_real_process`] does: a run that never ends by itself, and that "saves" for ever.
    fn child() -> ! {
        let signals = Signals::install().unwrap();
        assert_eq!(signals.requested(), None);
        eprintln!("ready");
        loop {
            if let Some(signal) = signals.requested() {
                eprintln!("saving after {signal}");
                // The parent says by a line on stdin that saving is over; the second signal comes before that.
                let mut line = String::new();
                io::stdin().read_line(&mut line).unwrap();
                std::process::exit(i32::from(signal.exit_code()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends the signals one after the other and checks how the process ends.
    fn check(sent: &[Signal], expected_code: u8) {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "signals::tests::signals_of_a_real_process", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut wait_for = |word: &str| {
            let mut line = String::new();
            while !line.contains(word) {
                line.clear();
                assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "ended before saying {word}");
            }
        };
        wait_for("ready");
        for (index, signal) in sent.iter().enumerate() {
            let kill = Command::new("kill")
                .args([format!("-{}", signal.number()), process.id().to_string()])
                .status();
            assert!(kill.unwrap().success());
            if index == 0 {
                wait_for(&format!("saving after {signal}"));
            }
        }
        if sent.len() == 1 {
            writeln!(process.stdin.take().unwrap()).unwrap();
        }
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(i32::from(expected_code)), "{sent:?}: {rest}");
    }

    #[test]
    fn signals_of_a_real_process() {
        if std::env::var_os(CHILD).is_some() {
            child();
        }
        check(&[Signal::Interrupt], 130);
        check(&[Signal::Terminate], 143);
        check(&[Signal::Interrupt, Signal::Interrupt], 130);
        check(&[Signal::Interrupt, Signal::Terminate], 143);
        check(&[Signal::Terminate, Signal::Interrupt], 130);
    }
}
