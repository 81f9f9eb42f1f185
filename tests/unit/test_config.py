"""Settings: layering, every refusal and its place, and the example file."""

import os
import re
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfs import config
from tierfs.config.kinds import DURATION, MODE, SIZE
from tierfs.errors import ConfigError
from tierfs.policy.merge import Policy

EXAMPLE = Path(__file__).parents[2] / "deploy" / "tierfs.example.toml"


def write(directory: Path, text: str) -> Path:
    path = directory / "tierfs.toml"
    path.write_text(text)
    return path


def refusal(path: Path | None, overrides: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(path, overrides, default_path=Path("/nonexistent/tierfs.toml"))
    return str(caught.value)


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    assert config.load(default_path=tmp_path / "absent.toml") == config.Settings()


def test_defaults_that_the_design_promises() -> None:
    settings = config.Settings()
    assert settings.mount.file_mode == 0o644 and settings.mount.dir_mode == 0o755
    assert settings.mount.uid == os.geteuid() and settings.mount.allow_other == (os.geteuid() == 0)
    assert settings.store.verify_tls
    assert settings.hot_tier.size_bytes is None
    assert settings.mount.max_tasks == 1000


def test_file_overrides_defaults_and_command_line_overrides_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        [hot_tier]
        size_bytes = "10GiB"
        full_wait_s = 7
        [export]
        quiet_s = "250ms"
        concurrency = 4
        [import]
        attributes = "never"
        [mount]
        file_mode = "0644"
        kernel_options = ["nosuid", "nodev"]
        """,
    )
    settings = config.load(path, {"export.quiet_s": "2min", "read_only": "yes", "hot_tier.size_bytes": "1GiB"})
    assert settings.hot_tier.size_bytes == 1 << 30
    assert settings.hot_tier.full_wait_s == 7.0
    assert settings.export.quiet_s == 120.0
    assert settings.export.concurrency == 4
    assert settings.import_.attributes == "never"
    assert settings.mount.file_mode == 0o644
    assert settings.mount.read_only is True
    assert settings.mount.kernel_options == ("nosuid", "nodev")


def test_the_default_file_is_read_when_it_exists(tmp_path: Path) -> None:
    path = write(tmp_path, '[log]\nlevel = "debug"\n')
    assert config.load(default_path=path).log.level == "debug"


def test_dotted_keys_and_inline_tables_are_the_same_sections(tmp_path: Path) -> None:
    path = write(tmp_path, 'export.quiet_s = "1s"\nlog = { level = "error" }\n')
    settings = config.load(path)
    assert settings.export.quiet_s == 1.0 and settings.log.level == "error"


def test_rules_of_the_export_keep_their_order(tmp_path: Path) -> None:
    text = '[export]\nquiet_s = 9\n[[export.rules]]\npath = "a/*"\nmode = "on-close"\n[[export.rules]]\npath = "a"\n'
    export = config.load(write(tmp_path, text + 'quiet_s = "1min"\n')).export
    first, second = export.rules
    assert (first.path, first.mode, first.quiet_s) == ("a/*", "on-close", None)
    assert (second.path, second.mode, second.quiet_s) == ("a", "write-back", 60.0)
    shown = attrs.fields_dict(config.ExportSettings)["rules"].metadata["kind"].show(export.rules)
    assert config.load(write(tmp_path, f"[export]\nrules = {shown}\n")).export.rules == export.rules


def test_auto_is_a_value_only_where_it_is_promised(tmp_path: Path) -> None:
    settings = config.load(write(tmp_path, '[hot_tier]\nsize_bytes = "auto"\n[mount]\nuid = "auto"\ngid = 5\n'))
    assert settings.hot_tier.size_bytes is None
    assert (settings.mount.uid, settings.mount.gid) == (os.geteuid(), 5)
    assert "[export] concurrency: 'auto' is not a whole number" in refusal(
        write(tmp_path, '[export]\nconcurrency = "auto"\n')
    )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[hot_tire]\n", 1, "unknown section [hot_tire]; did you mean 'hot_tier'?"),
        ("\n[export]\n\nquite_s = 1\n", 4, "unknown key 'quite_s' in [export]; did you mean 'quiet_s'?"),
        ("[store]\nquiet_s = 1\n", 2, "unknown key 'quiet_s' in [store]; it belongs to [export]"),
        ("quiet_s = 1\n", 1, "'quiet_s' stands outside of all sections; it belongs to [export]"),
        ("store = 1\n", 1, "'store' is a section; write [store]"),
        ("[[store]]\n", 1, "'store' is a section; write [store]"),
        ("export.zzz = 1\n", 1, "unknown key 'zzz' in [export]; known: quiet_s,"),
        ("[store]\nconnections = 1\n", 2, "connections must be at least 2 and at most 1024, not 1"),
        ("[store]\nconnections = true\n", 2, "True is not a whole number"),
        ("[store]\nverify_tls = 1\n", 2, "1 is not true or false"),
        ("[store]\nregion = 1\n", 2, "1 is not a text in quotes"),
        ('[store]\naddressing = "vhost"\n', 2, "'vhost' is not one of: auto, path, virtual"),
        ('[store]\npart_size_bytes = "4MiB"\n', 2, 'must be at least "5MiB" and at most "1GiB", not "4MiB"'),
        ('[store]\npart_size_bytes = "5 potatoes"\n', 2, "is not a size; write a number and one of"),
        ("[store]\npart_size_bytes = true\n", 2, "True is not a size"),
        ("[store]\nread_timeout_s = nan\n", 2, "read_timeout_s must be at least"),
        ('[export]\nquiet_s = "soon"\n', 2, "'soon' is not a duration"),
        ("[content]\nblock_bytes = 65537\n", 2, "block_bytes must be a power of two"),
        ('[content]\nspill_share = "half"\n', 2, "'half' is not a number"),
        # TOML's 600 is decimal: as a mode it would be 01130
        ("[mount]\nfile_mode = 600\n", 2, '600 is not a mode; write octal digits in quotes: "0640"'),
        ('[mount]\nfile_mode = "0999"\n', 2, "'0999' is not a mode"),
        ('[mount]\nkernel_options = "nosuid"\n', 2, "is not a list of texts"),
        ('[store]\nca_bundle = "ca.pem"\n', 2, "'ca.pem' is not an absolute path"),
        ("[log]\nlevel = \n", 2, "Invalid value"),
        ("[export]\nrules = 1\n", 2, "[export] rules: 1 is not a list of tables"),
        ('[[export.rules]]\npath = "a"\n\n[[export.rules]]\n', 4, "[[export.rules]] path is missing"),
        ('[[export.rules]]\npath = "/a"\n', 2, "[[export.rules]] path: '/a' is not a path from the root of the mount"),
        ('[[export.rules]]\npath = "a/../b"\n', 2, "path: 'a/../b' is not a path from the root of the mount"),
        (
            '[[export.rules]]\npath = "a"\nmode = "read-only"\n[[export.rules]]\npath = "b"\nmode = "readonly"\n',
            6,
            "mode: 'readonly' is not one of: write-back, on-close, read-only",
        ),
        ('[[export.rules]]\npaths = "a"\n', 2, "unknown key 'paths'; did you mean 'path'?"),
        ('[[export.rules]]\npath = "a"\nquiet_s = "2d"\n', 3, "quiet_s"),
        ('[[export.rules]]\npath = "a"\nquiet_s = 1\nmode = "read-only"\n', 3, "quiet_s has no meaning"),
        ('[[export.rules]]\npath = "a"\nquiet_s = 1\nmode = "ignore"\n', 3, "quiet_s has no meaning"),
        ('[export]\nrules = [{ path = "a" }, { path = "b", mode = "x" }]\n', 2, "[[export.rules]] mode: 'x' is not"),
        ('[[export.rules]]\npath = "a"\nquiet_s = 1\n[export]\nquiet_s = "soon"\n', 5, "'soon' is not a duration"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place_and_what_would_be_right(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    path = write(tmp_path, text)
    said = refusal(path)
    assert said.startswith(f"{path}:{line}: ")
    assert message in said


def test_the_place_is_that_of_the_key_in_its_own_section(tmp_path: Path) -> None:
    path = write(tmp_path, '[content]\n# concurrency = 0\n[import]\n[export]\n"concurrency" = 0\n')
    assert refusal(path).startswith(f"{path}:5: [export] concurrency must be")


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    assert "cannot read the configuration: No such file" in refusal(tmp_path / "absent.toml")
    assert "cannot read the configuration: Is a directory" in refusal(tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"[log]\nlevel = '\xff'\n")
    assert refusal(binary) == f"{binary}:2: not UTF-8"
    huge = write(tmp_path, "#" * (config.loading.CONFIG_LIMIT_BYTES + 1))
    assert "this is no tierfs configuration" in refusal(huge)


def test_options_are_refused_like_keys() -> None:
    assert refusal(None, {"filemode": "0600"}).startswith(
        "option filemode: unknown key 'filemode' in [mount]; did you mean 'file_mode'?"
    )
    assert refusal(None, {"export.concurrency": "many"}) == (
        "option export.concurrency: [export] concurrency: 'many' is not a whole number"
    )
    assert refusal(None, {"export.concurrency": "0"}).startswith(
        "option export.concurrency: [export] concurrency must be at least 1"
    )
    assert "'perhaps' is not true or false" in refusal(None, {"read_only": "perhaps"})


def test_words_of_the_command_line_become_values() -> None:
    settings = config.load(
        None,
        {
            "kernel_options": "nosuid:noexec",
            "content.spill_share": "0.5",
            "store.verify_tls": "off",
            "uid": "auto",
            "file_mode": "640",
        },
        default_path=Path("/nonexistent"),
    )
    assert settings.mount.kernel_options == ("nosuid", "noexec")
    assert settings.content.spill_share == 0.5
    assert settings.store.verify_tls is False
    assert settings.mount.uid == os.geteuid()
    assert settings.mount.file_mode == 0o640


def test_values_are_checked_and_frozen_in_code_too() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        config.ExportSettings(concurrency=0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.Settings().export.quiet_s = 1.0  # type: ignore[misc]


# --- the example file


def test_the_example_file_is_the_one_made_from_the_fields() -> None:
    assert EXAMPLE.read_text() == config.example_toml(), "run: python -m tierfs.config > deploy/tierfs.example.toml"


def test_the_example_holds_every_key_with_comment_and_default(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    for info in config.describe():
        body = text.split(f"\n[{info.section}]\n", 1)[1].split("\n[", 1)[0]
        assert re.search(rf"^# \S.*\n#{info.name} = {re.escape(info.default)}$", body, re.MULTILINE), info.name
    assert config.load(EXAMPLE) == config.Settings()
    every_key = write(tmp_path, re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE))
    assert every_key.read_text().count("\n#") < text.count("\n#")
    assert config.load(every_key) == config.Settings()


def test_every_key_has_help_and_quantities_carry_their_unit() -> None:
    for info in config.describe():
        assert info.help.endswith("."), info.name
        if info.kind is SIZE:
            assert info.name.endswith("_bytes"), info.name
        if info.kind is DURATION:
            assert info.name.endswith("_s"), info.name


@given(st.integers(min_value=0, max_value=1 << 50))
def test_a_shown_size_reads_back(size_bytes: int) -> None:
    assert SIZE.parse(_toml_value(SIZE.show(size_bytes))) == size_bytes


@given(st.integers(min_value=0, max_value=10**8))
def test_a_shown_duration_reads_back(milliseconds: int) -> None:
    duration_s = milliseconds / 1000
    assert DURATION.parse(_toml_value(DURATION.show(duration_s))) == pytest.approx(duration_s, rel=1e-9)


@given(st.integers(min_value=0, max_value=0o7777))
def test_a_shown_mode_reads_back(mode: int) -> None:
    assert MODE.parse(_toml_value(MODE.show(mode))) == mode


def _toml_value(text: str) -> object:
    return text.strip('"') if text.startswith('"') else int(text)


def test_every_policy_can_be_set_and_nothing_is_lost_by_default() -> None:
    kind = attrs.fields_dict(config.sections.ConflictSettings)["policy"].metadata["kind"]
    assert [kind.parse(policy.value) for policy in Policy] == kind.what.split(" | ")
    assert Policy(config.Settings().conflicts.policy) is Policy.KEEP_BOTH
