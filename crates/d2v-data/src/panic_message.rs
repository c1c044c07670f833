//! What a caught panic says: decoders and tokenizers of other crates panic at some damaged files.

use std::any::Any;

/// The message of a panic that was caught; the macros of the standard library make a `&str` or a `String` of it.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn messages_of_every_kind_are_read() {
        let message = |panics: fn()| panic_message(&*catch_unwind(panics).unwrap_err()).to_owned();
        assert_eq!(message(|| panic!("plain")), "plain");
        assert_eq!(message(|| panic!("with {}", 1)), "with 1");
        assert_eq!(message(|| std::panic::panic_any(7_u8)), "a panic without a message");
    }
}
