"""Hostile and honest archives. Each test ends with the folder holding the whole archive, or nothing."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.archives import ArchiveLimits, extract_archive
from optimizer.errors import InvalidModelError, InvalidOptionsError, ResourceLimitError, UnsafeModelError

MEGABYTE = 1 << 20


@pytest.fixture
def area(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing but archives and `out` may be left."""
    yield tmp_path
    assert {p.name for p in tmp_path.iterdir()} <= {"a.zip", "a.tar", "a.tar.gz", "out"}


def make_zip(area: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    path = area / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def make_tar(area: Path, members: list[tuple[tarfile.TarInfo, bytes]], name: str = "a.tar.gz") -> Path:
    path = area / name
    with tarfile.open(path, "w:gz" if name.endswith("gz") else "w:") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refused(archive: Path, kind: type[Exception], names: str, limits: ArchiveLimits | None = None) -> None:
    with pytest.raises(kind) as caught:
        extract_archive(archive, archive.parent / "out", limits=limits)
    assert names in str(caught.value)
    assert not (archive.parent / "out").exists()


def test_a_zip_is_extracted_whole(area: Path) -> None:
    archive = make_zip(area, [("saved/model.pb", b"graph"), ("saved/variables/", b""), ("./note", b"n" * 9)])
    folder = extract_archive(archive, area / "out")
    assert folder == area / "out"
    assert (folder / "saved/model.pb").read_bytes() == b"graph"
    assert (folder / "saved/variables").is_dir()
    assert (folder / "note").read_bytes() == b"n" * 9


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_a_tar_is_extracted_whole(area: Path, name: str) -> None:
    root = tarfile.TarInfo(".")
    root.type = tarfile.DIRTYPE
    large = os.urandom(3 * MEGABYTE + 7)
    archive = make_tar(area, [(root, b""), (tarfile.TarInfo("./saved/v.data"), large)], name)
    folder = extract_archive(archive, area / "out")
    assert (folder / "saved/v.data").read_bytes() == large


def test_extracted_files_are_neither_executable_nor_of_another_user(area: Path) -> None:
    info = tarfile.TarInfo("run.sh")
    info.mode, info.uid = 0o6777, 4242
    file = extract_archive(make_tar(area, [(info, b"#!/bin/sh")]), area / "out") / "run.sh"
    assert file.stat().st_mode & 0o7111 == 0
    assert file.stat().st_uid == os.getuid()


ESCAPES = ["../x", "a/../../x", "/etc/x", "C:/x", "c:x", "a\\..\\x", "a\x07b", "a/" * 40 + "x", "n" * 300]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_zip_with_a_bad_name_is_refused(area: Path, name: str) -> None:
    refused(make_zip(area, [("good", b"1"), (name, b"2")]), UnsafeModelError, repr(name)[1:20])


@pytest.mark.parametrize("name", ESCAPES)
def test_a_tar_with_a_bad_name_is_refused(area: Path, name: str) -> None:
    refused(make_tar(area, [(tarfile.TarInfo(name), b"2")]), UnsafeModelError, repr(name)[1:20])


def test_a_name_cut_off_at_a_nul_is_refused(area: Path) -> None:
    archive = make_zip(area, [("model.pb_evil", b"1")])
    archive.write_bytes(archive.read_bytes().replace(b"model.pb_evil", b"model.pb\0evil"))
    refused(archive, UnsafeModelError, "model.pb")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_in_a_tar_is_refused(area: Path, kind: bytes) -> None:
    refused(make_tar(area, [(link("weights", "good", kind), b"")]), UnsafeModelError, "'weights' is a link")


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_a_special_file_in_a_tar_is_refused(area: Path, kind: bytes) -> None:
    refused(make_tar(area, [(link("pipe", "", kind), b"")]), UnsafeModelError, "'pipe' is a special file")


def test_a_link_in_a_zip_is_refused(area: Path) -> None:
    info = zipfile.ZipInfo("weights")
    info.external_attr = 0o120777 << 16
    refused(make_zip(area, [(info, b"/etc/passwd")]), UnsafeModelError, "'weights' is a link")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("model.pb", "model.pb"),
        ("model.pb", "MODEL.pb"),
        ("Saved/a", "saved/b"),
        ("straße", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("model", "model/part"),
        ("model/part", "model"),
        ("model", "./model"),
        ("model", "model/"),
    ],
)
def test_a_member_that_hides_another_is_refused(area: Path, first: str, second: str) -> None:
    refused(make_zip(area, [(first, b"1"), (second, b"2")]), UnsafeModelError, repr(second))


def test_too_many_members_are_refused(area: Path) -> None:
    archive = make_zip(area, [(f"f{n}", b"") for n in range(11)])
    refused(archive, ResourceLimitError, "'f10'", ArchiveLimits(members=10))


@pytest.mark.parametrize("shape", ["zip", "tar"])
def test_more_than_the_total_size_is_refused(area: Path, shape: str) -> None:
    names = [("small", b"1" * 600), ("large", b"2" * 600)]
    if shape == "zip":
        archive = make_zip(area, [*names])
    else:
        archive = make_tar(area, [(tarfile.TarInfo(name), content) for name, content in names])
    refused(archive, ResourceLimitError, "'large'", ArchiveLimits(total_bytes=1000))


def test_a_zip_that_lies_about_a_size_is_refused(area: Path) -> None:
    archive = make_zip(area, [("bomb", b"\0" * 50_000)])
    content = archive.read_bytes()
    archive.write_bytes(content.replace(struct.pack("<I", 50_000), struct.pack("<I", 10)))
    # zipfile stops at the size that is stated; then the checksum is wrong.
    refused(archive, InvalidModelError, "'bomb'", ArchiveLimits(total_bytes=1000))


@pytest.mark.parametrize("shape", ["zip", "tar"])
def test_a_bomb_is_refused_by_its_ratio(area: Path, shape: str) -> None:
    zeros = bytes(80 * MEGABYTE)
    if shape == "zip":
        archive = make_zip(area, [("bomb", zeros)])
    else:
        archive = make_tar(area, [(tarfile.TarInfo("bomb"), zeros)])
    refused(archive, ResourceLimitError, "'bomb'")


def test_a_header_that_would_swallow_the_memory_is_refused(area: Path) -> None:
    info = tarfile.TarInfo("model")
    info.pax_headers = {"comment": "x" * (8 * MEGABYTE)}
    refused(make_tar(area, [(info, b"1")]), InvalidModelError, "a header is too long")


def test_an_encrypted_member_is_refused(area: Path) -> None:
    archive = make_zip(area, [("model.pb", b"1")])
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(bytes(content))
    refused(archive, InvalidModelError, "'model.pb' is encrypted")


def test_an_unusual_compression_is_refused(area: Path) -> None:
    info = zipfile.ZipInfo("model.pb")
    info.compress_type = zipfile.ZIP_LZMA
    path = area / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"1")
    refused(path, InvalidModelError, "'model.pb' is compressed by method 14")


@pytest.mark.parametrize("shape", ["zip", "tar"])
def test_a_damaged_archive_is_refused(area: Path, shape: str) -> None:
    noise = os.urandom(200_000)
    if shape == "zip":
        archive = make_zip(area, [("noise", noise)])
    else:
        archive = make_tar(area, [(tarfile.TarInfo("noise"), noise)])
    content = bytearray(archive.read_bytes())
    content[100_000] ^= 0xFF
    archive.write_bytes(bytes(content))
    refused(archive, InvalidModelError, "a.")


@pytest.mark.parametrize("keep", [20, 5_000, 100_000])
def test_a_download_that_broke_off_is_refused(area: Path, keep: int) -> None:
    archive = make_tar(area, [(tarfile.TarInfo("noise"), os.urandom(200_000))])
    archive.write_bytes(archive.read_bytes()[:keep])
    refused(archive, InvalidModelError, "a.tar.gz")


def test_another_file_is_refused(area: Path) -> None:
    archive = area / "a.zip"
    archive.write_bytes(b"this is a text, and no archive at all" * 50)
    refused(archive, InvalidModelError, "a.zip")


def test_a_folder_that_is_there_is_left_alone(area: Path) -> None:
    (area / "out").mkdir()
    (area / "out" / "mine").write_text("kept")
    with pytest.raises(InvalidOptionsError):
        extract_archive(make_zip(area, [("f", b"")]), area / "out")
    assert (area / "out" / "mine").read_text() == "kept"
