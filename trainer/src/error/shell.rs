//! Quotes paths in the commands that are printed for a user to run, so that a shell reads each as one word.

use std::path::Path;

/// `path` as one word of a shell command: as it is if nothing in it means anything to a shell, else in single quotes.
///
/// Bytes that are not text are shown as replacement characters; such a path has to be typed.
pub fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_a_shell_is_quoted() {
        let word = |text: &str| shell_word(Path::new(text));
        assert_eq!(word("/home/me/run-1"), "/home/me/run-1");
        assert_eq!(word("/home/me/my run"), "'/home/me/my run'");
        assert_eq!(word("it's; rm -rf $HOME"), r"'it'\''s; rm -rf $HOME'");
        assert_eq!(word(""), "''");
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_gives_back_the_path() {
        let path = "/a b/it's \"$x\" `y` \\z/é\t*?";
        let script = format!("printf %s {}", shell_word(Path::new(path)));
        let output = std::process::Command::new("/bin/sh").args(["-c", &script]).output().expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), path);
    }
}
