//! How libtorch's OpenMP threads wait for each other.
//!
//! By default they spin. As soon as anything else runs on the same cores (the loader, another program) a spinning
//! thread keeps the one it waits for from running: steps become many times slower. OpenMP reads its settings when it
//! is loaded, before `main`, so they can only be changed for a process that is yet to start.

/// What OpenMP is told when the user says nothing.
const WAIT_POLICY: (&str, &str) = ("OMP_WAIT_POLICY", "passive");

/// Starts this program again with waiting threads that sleep, unless the user set how they wait. Returns where that
/// is not needed or not possible.
pub fn wait_without_spinning() {
    let (name, value) = WAIT_POLICY;
    if [name, "GOMP_SPINCOUNT", "KMP_BLOCKTIME"].iter().any(|set| std::env::var_os(set).is_some()) {
        return;
    }
    #[cfg(unix)]
    if let Ok(program) = std::env::current_exe() {
        use std::os::unix::process::CommandExt;
        // The arguments as given, argv[0] included, so that `ps` shows what was typed.
        let mut arguments = std::env::args_os();
        let mut command = std::process::Command::new(program);
        if let Some(first) = arguments.next() {
            command.arg0(first);
        }
        let failed = command.args(arguments).env(name, value).exec();
        tracing::debug!("OpenMP threads spin while they wait: {failed}");
    }
}
