//! Directives with a grammar of their own: lists of words, groups of numbers, a folder.
//!
//! Each is one `Special`: how its words are parsed, shown by CONFIG GET and written to a file.

use super::directive::{Given, Special};
use super::limits::OutputLimits;
use super::value::{memory, memory_text, Field, Value};
use base::events::Classes;

fn no_lines_but_shown(name: &str, value: &Value) -> Vec<String> {
    vec![format!("{name} {}", joined(value))]
}

fn joined(value: &Value) -> String {
    value.as_words().join(" ")
}

/// An empty list has to be written as an empty word, else the line would have no argument.
fn one_line(name: &str, value: &Value) -> Vec<String> {
    if value.as_words().is_empty() {
        return vec![format!("{name} \"\"")];
    }
    no_lines_but_shown(name, value)
}

/// A single empty word stands for an empty list.
fn without_lone_empty(words: &[String]) -> &[String] {
    match words {
        [only] if only.is_empty() => &[],
        all => all,
    }
}

pub(super) static BIND: Special = Special {
    parse: |given| {
        let words = without_lone_empty(given.words);
        if words.len() > 16 {
            return Err("Too many bind addresses specified.".to_owned());
        }
        Ok(Value::Words(words.to_vec()))
    },
    show: joined,
    lines: one_line,
    form: "addresses",
};

pub(super) static SAVE: Special = Special {
    parse: save,
    show: joined,
    lines: |name, value| {
        let points = value.as_words();
        if points.is_empty() {
            return vec![format!("{name} \"\"")];
        }
        points
            .chunks(2)
            .map(|p| format!("{name} {}", p.join(" ")))
            .collect()
    },
    form: "seconds changes, any number of times",
};

/// In a file each line adds save points to those of the lines before it; an empty one clears.
fn save(given: &Given) -> Result<Value, String> {
    let wrong = || "Invalid save parameters".to_owned();
    let cleared = given.words.len() == 1 && given.words[0].is_empty();
    let words = without_lone_empty(given.words);
    if words.len() % 2 == 1 {
        return Err(wrong());
    }
    let mut points = match given.old {
        Value::Words(old) if given.again && !cleared => old.clone(),
        _ => Vec::new(),
    };
    for (i, word) in words.iter().enumerate() {
        let n: i64 = word.parse().map_err(|_| wrong())?;
        if n < i64::from(i % 2 == 0) {
            return Err(wrong());
        }
        points.push(n.to_string());
    }
    Ok(Value::Words(points))
}

pub(super) static OUTPUT_LIMITS: Special = Special {
    parse: output_limits,
    show: joined,
    lines: |name, value| {
        let line = |class: &[String]| {
            let size = |text: &String| memory(text).map_or_else(|| text.clone(), memory_text);
            let called = if class[0] == "slave" {
                "replica"
            } else {
                &class[0]
            };
            format!(
                "{name} {called} {} {} {}",
                size(&class[1]),
                size(&class[2]),
                class[3]
            )
        };
        value.as_words().chunks_exact(4).map(line).collect()
    },
    form: "class hard soft seconds, for some of normal, replica, pubsub",
};

/// Classes that are not mentioned keep their limits; the value always has all three, in order.
fn output_limits(given: &Given) -> Result<Value, String> {
    if given.words.len() % 4 != 0 {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    let mut limits = match given.old {
        Value::Words(old) if old.len() == 12 => old.clone(),
        _ => OutputLimits::NONE.to_value().as_words().to_vec(),
    };
    for class in given.words.chunks_exact(4) {
        let at = match class[0].to_ascii_lowercase().as_str() {
            "normal" => 0,
            "slave" | "replica" => 4,
            "pubsub" => 8,
            _ => {
                return Err(
                    "Invalid client class specified in buffer limit configuration.".to_owned(),
                )
            }
        };
        let seconds = class[3].parse::<u32>().ok();
        match (memory(&class[1]), memory(&class[2]), seconds) {
            (Some(hard), Some(soft), Some(seconds)) => {
                limits[at + 1] = hard.to_string();
                limits[at + 2] = soft.to_string();
                limits[at + 3] = seconds.to_string();
            }
            _ => {
                return Err("Error in hard, soft or soft_seconds setting in \
                            buffer limit configuration."
                    .to_owned())
            }
        }
    }
    Ok(Value::Words(limits))
}

pub(super) static OOM_SCORES: Special = Special {
    parse: |given| {
        if given.words.len() != 3 {
            return Err("wrong number of arguments".to_owned());
        }
        let in_range = |w: &String| w.parse::<i32>().is_ok_and(|n| (-2000..=2000).contains(&n));
        if !given.words.iter().all(in_range) {
            return Err(
                "Invalid oom-score-adj-values, elements must be between -2000 and 2000.".to_owned(),
            );
        }
        Ok(Value::Words(given.words.to_vec()))
    },
    show: joined,
    lines: one_line,
    form: "three numbers",
};

pub(super) static PERCENTILES: Special = Special {
    parse: |given| {
        let wrong = || "Invalid latency-tracking-info-percentiles parameters".to_owned();
        let mut shown = Vec::new();
        for word in without_lone_empty(given.words) {
            let n: f64 = word.parse().map_err(|_| wrong())?;
            if n.is_nan() {
                return Err(wrong());
            }
            if !(0.0..=100.0).contains(&n) {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between \
                            [0.0,100.0]"
                        .to_owned(),
                );
            }
            // Six digits, as Redis keeps and shows them, without zeros at the end.
            let digits = format!("{n:.6}");
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            shown.push(digits.to_owned());
        }
        Ok(Value::Words(shown))
    },
    show: joined,
    lines: one_line,
    form: "numbers from 0 to 100",
};

pub(super) static REPLICAOF: Special = Special {
    parse: |given| match given.words {
        [] => Ok(Value::Words(Vec::new())),
        [no, one] if no.eq_ignore_ascii_case("no") && one.eq_ignore_ascii_case("one") => {
            Ok(Value::Words(Vec::new()))
        }
        [_, port] if port.parse::<u16>().is_err() => Err("Invalid master port".to_owned()),
        [_, _] => Ok(Value::Words(given.words.to_vec())),
        _ => Err("wrong number of arguments".to_owned()),
    },
    show: joined,
    lines: |name, value| match value.as_words() {
        [] => vec![format!("{name} no one")],
        _ => no_lines_but_shown(name, value),
    },
    form: "host port",
};

/// `relative` is another word for `yes`, and shown as such.
pub(super) static OOM_ADJUST: Special = Special {
    parse: |given| {
        let word = match given.words {
            [one] => one.to_ascii_lowercase(),
            _ => return Err("wrong number of arguments".to_owned()),
        };
        match word.as_str() {
            "no" | "absolute" => Ok(Value::Words(vec![word])),
            "yes" | "relative" => Ok(Value::Words(vec!["yes".to_owned()])),
            _ => Err(
                "argument(s) must be one of the following: no, yes, relative, absolute".to_owned(),
            ),
        }
    },
    show: joined,
    lines: one_line,
    form: "no, yes, relative, absolute",
};

pub(super) static EVENTS: Special = Special {
    parse: |given| match given.words {
        [] => Ok(Value::Words(vec![String::new()])),
        [classes] => match Classes::parse(classes) {
            Some(classes) => Ok(classes.to_value()),
            None => Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned()),
        },
        _ => Err("wrong number of arguments".to_owned()),
    },
    show: joined,
    lines: |name, value| vec![format!("{name} \"{}\"", joined(value))],
    form: "letters of event classes",
};
