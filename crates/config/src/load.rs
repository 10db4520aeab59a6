//! Reading a configuration: file, included files, stdin, then the options of the command line.
//!
//! Options become lines that follow the file's, as in Redis, so a later one overrides and errors
//! count lines the same way. Reads files; changes nothing on disk and does not change folders:
//! `dir` moves only the folder that later relative paths are resolved in.

use super::directive::{Directive, Given};
use super::error::os_text;
use super::value::Value;
use super::{table, words, Config, ConfigError, Place};
use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Files including files including ... deeper than this are taken for a loop.
const INCLUDE_DEPTH: usize = 16;

/// What else is known after loading.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Nothing was given at all: neither file nor options.
    pub all_defaults: bool,
    /// The directives that a file, stdin or the command line has set, sorted.
    pub given: Vec<&'static str>,
    /// What the operator should hear of although it is no error; for the log.
    pub warnings: Vec<String>,
}

/// Where a configuration is read from; tests give their own.
pub struct Sources<'a> {
    pub cwd: PathBuf,
    pub stdin: Box<dyn Read + 'a>,
}

impl Sources<'static> {
    pub fn of_process() -> Sources<'static> {
        Sources {
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            stdin: Box::new(std::io::stdin()),
        }
    }
}

/// See [`Config::from_args`].
pub(super) fn from_args(
    args: &[Vec<u8>],
    sources: &mut Sources,
) -> Result<(Config, Loaded), ConfigError> {
    let mut config = Config {
        dir: sources.cwd.clone(),
        ..Config::default()
    };
    let options = match args.split_first() {
        Some((first, rest)) if !first.starts_with(b"-") => {
            let path = sources.cwd.join(OsStr::from_bytes(first));
            config.file = Some(std::path::absolute(&path).unwrap_or(path));
            rest
        }
        _ => args,
    };
    let options = Options::of(options, args.len() - options.len())?;
    let mut text = Vec::new();
    if let Some(path) = &config.file {
        text = read_all(path.as_os_str())?;
    }
    if options.stdin {
        let read = sources.stdin.read_to_end(&mut text);
        read.map_err(|e| ConfigError::Unreadable {
            path: "-".to_owned(),
            reason: os_text(&e),
        })?;
    }
    if !options.lines.is_empty() {
        text.push(b'\n');
        text.extend_from_slice(&options.lines);
    }
    let mut loader = Loader {
        config,
        seen: HashSet::new(),
        depth: 0,
    };
    loader.text(&text)?;
    let warnings = loader.finish()?;
    let given = loader.given();
    Ok((
        loader.config,
        Loaded {
            all_defaults: args.is_empty(),
            given,
            warnings,
        },
    ))
}

/// The options of the command line, written as lines of a configuration file.
struct Options {
    lines: Vec<u8>,
    stdin: bool,
}

impl Options {
    /// `before`: how many arguments precede these; `-` counts only as the first or last of all.
    fn of(args: &[Vec<u8>], before: usize) -> Result<Options, ConfigError> {
        let mut options = Options {
            lines: Vec::new(),
            stdin: false,
        };
        // An option whose name was just given takes the next word even if that starts with `--`.
        let mut wants_value = false;
        for (i, arg) in args.iter().enumerate() {
            let next_is_option = args.get(i + 1).is_some_and(|next| next.starts_with(b"--"));
            let last = i + 1 == args.len();
            if arg == b"-" && (i + before == 0 || last) {
                options.stdin = true;
            } else if arg.starts_with(b"--") && !wants_value {
                if arg.eq_ignore_ascii_case(b"--sentinel") {
                    let reason = "Holdfast has no Sentinel mode";
                    return Err(ConfigError::Fatal {
                        at: None,
                        reason: reason.to_owned(),
                    });
                }
                wants_value = options.name(arg, next_is_option, last);
            } else {
                options
                    .lines
                    .extend_from_slice(words::quote(arg).as_bytes());
                options.lines.push(b' ');
                wants_value = false;
            }
        }
        Ok(options)
    }

    /// Starts a line for `--name`, or `--name value` in one argument; whether a value must follow.
    fn name(&mut self, arg: &[u8], next_is_option: bool, last: bool) -> bool {
        if !self.lines.is_empty() {
            self.lines.push(b'\n');
        }
        self.lines.extend_from_slice(&arg[2..]);
        self.lines.push(b' ');
        let alone = words::split(arg).is_some_and(|words| words.len() == 1);
        // A bare `--save` says that there are no save points.
        if alone && arg.eq_ignore_ascii_case(b"--save") && (next_is_option || last) {
            self.lines.extend_from_slice(b"\"\"");
            return false;
        }
        alone
    }
}

struct Loader {
    config: Config,
    /// Directives that some line has set.
    seen: HashSet<&'static str>,
    depth: usize,
}

impl Loader {
    fn text(&mut self, text: &[u8]) -> Result<(), ConfigError> {
        for (i, line) in text.split(|b| *b == b'\n').enumerate() {
            let line = trimmed(line);
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            self.line(line).map_err(|wrong| match wrong {
                Wrong::Here(reason) => ConfigError::Fatal {
                    at: Some(Place {
                        line: i + 1,
                        text: String::from_utf8_lossy(line).into_owned(),
                    }),
                    reason,
                },
                Wrong::Elsewhere(error) => error,
            })?;
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Wrong> {
        let words = words::split(line).ok_or(UNBALANCED)?;
        let Some((name, given)) = words.split_first() else {
            return Ok(());
        };
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if let Some(row) = table::find(&name) {
            return Ok(self.directive(table()[row], given)?);
        }
        match (name.as_str(), given) {
            ("list-max-ziplist-entries" | "list-max-ziplist-value", [_]) => Ok(()),
            ("lua-replicate-commands", [_]) => Ok(()),
            ("include", [path]) => self.include(path),
            ("user", rules) if is_unrestricted_default_user(rules) => Ok(()),
            (name, given) => Err(Wrong::Here(refusal(name, given).to_owned())),
        }
    }

    fn directive(&mut self, row: &'static Directive, given: &[Vec<u8>]) -> Result<(), String> {
        if !row.many && given.len() != 1 {
            return Err("wrong number of arguments".to_owned());
        }
        let split;
        let given = match given {
            [one] if row.many && !one.is_empty() => {
                split = words::split(one).ok_or(UNBALANCED)?;
                split.as_slice()
            }
            given => given,
        };
        let text = |word: &Vec<u8>| String::from_utf8(word.clone());
        let words: Vec<String> = given
            .iter()
            .map(text)
            .collect::<Result<_, _>>()
            .map_err(|_| "argument must be valid UTF-8".to_owned())?;
        let again = !self.seen.insert(row.name);
        let old = self.config.value(row);
        let mut value = row.parse(&Given {
            words: &words,
            old: &old,
            again,
        })?;
        match row.name {
            "dir" => {
                let path = self.config.dir.join(value.as_text());
                let path = std::fs::canonicalize(path).map_err(|e| os_text(&e))?;
                if !path.is_dir() {
                    return Err("Not a directory".to_owned());
                }
                // What could not be shown again by CONFIG GET could not be found again either.
                let path = path.to_str().ok_or("the path must be valid UTF-8")?;
                value = Value::Text(path.to_owned());
            }
            "appenddirname" => self.config.appenddirname_given = true,
            _ => {}
        }
        self.config.put(row, value);
        Ok(())
    }

    fn include(&mut self, path: &[u8]) -> Result<(), Wrong> {
        if self.depth == INCLUDE_DEPTH {
            return Err(Wrong::Here("Too many nested include directives".to_owned()));
        }
        let path = self.config.dir.join(OsStr::from_bytes(path));
        let pattern = path.as_os_str();
        let mut text = Vec::new();
        if pattern.as_bytes().iter().any(|b| b"*?[".contains(b)) {
            for file in files_matching(&path) {
                text.extend(read_all(file.as_os_str()).map_err(Wrong::Elsewhere)?);
                text.push(b'\n');
            }
        } else {
            text = read_all(pattern).map_err(Wrong::Elsewhere)?;
        }
        self.depth += 1;
        let done = self.text(&text).map_err(Wrong::Elsewhere);
        self.depth -= 1;
        done
    }

    /// What can be said only when every line is known. Gives warnings.
    fn finish(&mut self) -> Result<Vec<String>, ConfigError> {
        let config = &mut self.config;
        let mut warnings = Vec::new();
        if config.cluster_enabled && config.databases > 1 {
            if self.seen.contains("databases") {
                warnings.push(format!(
                    "WARNING: Changing databases number from {} to 1 since we are in cluster mode",
                    config.databases
                ));
            }
            config.databases = 1;
        }
        config.derive_appenddirname();
        config.hold_hz();
        if config.cluster_enabled {
            cluster_can_listen(config)?;
        }
        if (config.port == 0 || config.bind.is_empty()) && config.unixsocket.is_empty() {
            return Err(ConfigError::Fatal {
                at: None,
                reason: NOWHERE.to_owned(),
            });
        }
        let given = self.given();
        warnings.extend(self.config.warnings_of(&given));
        Ok(warnings)
    }

    fn given(&self) -> Vec<&'static str> {
        let mut given: Vec<&'static str> = self.seen.iter().copied().collect();
        given.sort_unstable();
        given
    }
}

impl Config {
    /// Six nodes may share one `dir`, each with a cluster-config-file of its own: unless it is
    /// given, the log's folder follows that file's name.
    fn derive_appenddirname(&mut self) {
        if self.appenddirname_given {
            return;
        }
        self.appenddirname = self.derived_appenddirname();
    }

    pub(super) fn derived_appenddirname(&self) -> String {
        let plain = "appendonlydir";
        let file = Path::new(&self.cluster_config_file)
            .file_name()
            .and_then(OsStr::to_str);
        match file {
            Some(file) if self.cluster_enabled => {
                format!("{plain}-{}", file.strip_suffix(".conf").unwrap_or(file))
            }
            _ => plain.to_owned(),
        }
    }

    pub(super) fn appenddirname_is_derived(&self) -> bool {
        !self.appenddirname_given
    }
}

fn cluster_can_listen(config: &Config) -> Result<(), ConfigError> {
    let reason = if config.cluster_port == 0 && config.port > 65535 - super::CLUSTER_PORT_INCREMENT
    {
        "Redis port number too high. Cluster communication port is 10,000 port numbers higher \
         than your Redis port. Your Redis port number must be 55535 or less."
    } else if config.bind.is_empty() {
        "No bind address is configured, but it is required for the Cluster bus."
    } else {
        return Ok(());
    };
    Err(ConfigError::Fatal {
        at: None,
        reason: reason.to_owned(),
    })
}

/// Redis's words, and what to do.
const NOWHERE: &str = "Configured to not listen anywhere, exiting. \
     Give a port and an address to bind to, or a unixsocket.";

const UNBALANCED: &str = "Unbalanced quotes in configuration line";

/// What is wrong with a line, and whether the text to show is this line or one of another file.
enum Wrong {
    Here(String),
    Elsewhere(ConfigError),
}

impl From<String> for Wrong {
    fn from(reason: String) -> Wrong {
        Wrong::Here(reason)
    }
}

impl From<&str> for Wrong {
    fn from(reason: &str) -> Wrong {
        Wrong::Here(reason.to_owned())
    }
}

/// Redis's CONFIG REWRITE always writes a `user default` line. One that takes nothing away says
/// what is so anyhow; if `requirepass` is set too, asking for the password is the safe reading.
fn is_unrestricted_default_user(rules: &[Vec<u8>]) -> bool {
    const HARMLESS: &[&[u8]] = &[
        b"on",
        b"nopass",
        b"sanitize-payload",
        b"~*",
        b"allkeys",
        b"&*",
        b"allchannels",
        b"+@all",
        b"allcommands",
    ];
    match rules.split_first() {
        Some((user, rules)) => {
            user == b"default"
                && rules.iter().any(|rule| rule == b"nopass")
                && rules.iter().all(|rule| HARMLESS.contains(&rule.as_slice()))
        }
        None => false,
    }
}

/// Why a line that is not in the table is refused. What Redis has and we don't is never ignored:
/// a forgotten rename or user would leave open what the operator meant to close.
fn refusal(name: &str, given: &[Vec<u8>]) -> &'static str {
    match (name, given.len()) {
        ("rename-command", 2) => {
            "Holdfast does not rename commands: starting with them under their own names would \
             be unsafe"
        }
        ("user", 1..) => {
            "Holdfast has no users but the default one (requirepass): starting without this \
             user would be unsafe"
        }
        ("loadmodule", 1..) => "Holdfast has no modules",
        ("sentinel", 1..) => "sentinel directive while not in sentinel mode",
        ("sentinel", _) => "Holdfast has no Sentinel mode",
        (name, 0) if name.contains('.') => "Module config specified without value",
        (name, _) if name.contains('.') => "Holdfast has no modules that could be configured",
        _ => "Bad directive or wrong number of arguments",
    }
}

fn trimmed(line: &[u8]) -> &[u8] {
    let blank = |b: &u8| b" \t\r\n".contains(b);
    let start = line.iter().position(|b| !blank(b)).unwrap_or(line.len());
    let end = line
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |last| last + 1);
    &line[start..end]
}

fn read_all(path: &OsStr) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|e| ConfigError::Unreadable {
        path: path.to_string_lossy().into_owned(),
        reason: os_text(&e),
    })
}

/// The files that a pattern of the file system matches, in order of name; none is no error.
fn files_matching(pattern: &Path) -> Vec<PathBuf> {
    let Ok(pattern) = CString::new(pattern.as_os_str().as_bytes()) else {
        return Vec::new();
    };
    // SAFETY: `found` is zeroed as glob(3) wants it, read only after a successful call, within
    // gl_pathc, and freed once; the pattern is a live C string.
    unsafe {
        let mut found: libc::glob_t = std::mem::zeroed();
        let mut files = Vec::new();
        if libc::glob(pattern.as_ptr(), 0, None, &mut found) == 0 {
            for i in 0..found.gl_pathc {
                let path = CStr::from_ptr(*found.gl_pathv.add(i)).to_bytes().to_vec();
                files.push(PathBuf::from(std::ffi::OsString::from_vec(path)));
            }
        }
        libc::globfree(&mut found);
        files
    }
}
