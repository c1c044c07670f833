//! What was left out when data was opened, as log lines: by name what needs someone's attention, the rest as a number.

use d2v_data::{Dataset, Ignored, WhyIgnored};

/// So many files are named; a folder of damaged recordings would hide everything else.
const MAX_NAMED: usize = 20;

/// Logs what was left out of `data`.
pub fn log_left_out(data: &dyn Dataset) {
    let ignored = data.ignored();
    for why in [WhyIgnored::NotMeant, WhyIgnored::Unreadable] {
        for left_out in ignored.listed_for(why).take(MAX_NAMED) {
            tracing::warn!("left out {}: {}", left_out.name, left_out.reason);
        }
        let more = ignored.count(why).saturating_sub(MAX_NAMED as u64);
        if more > 0 {
            tracing::warn!("left out {more} more for such reasons");
        }
    }
    if let Some(total) = total(ignored) {
        tracing::warn!("{total}");
    }
}

/// How many recordings were left out, and why; `None` where none was.
fn total(ignored: &Ignored) -> Option<String> {
    let counts =
        [WhyIgnored::TooShort, WhyIgnored::Unreadable, WhyIgnored::NotMeant].map(|why| ignored.count(why));
    total_of(counts)
}

fn total_of([too_short, unreadable, not_meant]: [u64; 3]) -> Option<String> {
    if too_short + unreadable == 0 {
        return None;
    }
    let all = too_short + unreadable + not_meant;
    let others = if not_meant == 0 { String::new() } else { format!(", {not_meant} for other reasons") };
    let noun = if all == 1 { "recording" } else { "recordings" };
    Some(format!(
        "{all} {noun} left out: {too_short} shorter than data.audio.min_seconds, {unreadable} unreadable{others}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_tell_reasons_apart() {
        assert_eq!(total_of([0, 0, 0]), None);
        assert_eq!(total_of([0, 0, 4]), None, "each was named");
        let short = "1 recording left out: 1 shorter than data.audio.min_seconds, 0 unreadable";
        assert_eq!(total_of([1, 0, 0]).as_deref(), Some(short));
        let all =
            "9 recordings left out: 2 shorter than data.audio.min_seconds, 3 unreadable, 4 for other reasons";
        assert_eq!(total_of([2, 3, 4]).as_deref(), Some(all));
    }
}
