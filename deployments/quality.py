"""How good a rendered video is, in a few honest figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from musetalk_core.media.limits import Limits
from musetalk_core.media.picture import Picture
from musetalk_core.speech.phones import Phone


@dataclass(frozen=True, slots=True)
class Quality:
    """
    What was measured on one video.

    Attributes:
        picture_s:   length of the picture, in seconds.
        sound_s:     length of the sound, in seconds.
        rate:        frames per second.
        correlation: of lip opening with what the sounds ask for, -1..1; None without phones.
        backwards:   the same figure for the sounds played backwards: what any moving mouth gets.
        lag_frames:  where the correlation was found; positive when the mouth is late.
        closed:      share 0..1 of the p, b, m on which the lips meet.
        bilabials:   how many p, b, m there are.
    """

    picture_s: float
    sound_s: float
    rate: Fraction
    correlation: float | None
    backwards: float
    lag_frames: int
    closed: float
    bilabials: int

    def lines(self) -> list[str]:
        """Say it for people."""
        apart = abs(self.picture_s - self.sound_s) * float(self.rate)
        lengths = f"picture {self.picture_s:.3f} s, sound {self.sound_s:.3f} s: {apart:.1f} frames apart"
        if self.correlation is None:
            return [lengths]
        met = round(self.closed * self.bilabials)
        return [
            lengths,
            f"lips follow the sounds: correlation {self.correlation:.2f} at {self.lag_frames:+d} frames,"
            f" {self.backwards:.2f} with the sounds played backwards",
            f"lips meet on {met} of {self.bilabials} p, b, m ({self.closed:.0%})",
        ]


def measure(video: Path, phones: Sequence[Phone]) -> Quality:
    """
    Measure a rendered video against the sounds it should show.

    Args:
        video:  the file.
        phones: of its speech, with times; empty leaves the lips out.

    Raises:
        MediaUnreadable: it is no video.
    """
    from musetalk_core import sync
    from musetalk_core.media.probe import probe, require_picture, require_sound
    from musetalk_core.speech.curves import curves
    from musetalk_core.speech.visemes import BILABIALS, arpabet

    info = probe(video)
    rate = require_picture(info).rate
    picture_s, sound_s = float(info.duration_s or 0), float(require_sound(info).duration_s or 0)
    if not phones:
        return Quality(picture_s, sound_s, rate, None, 0.0, 0, 0.0, 0)
    measured = sync.apertures(_pictures(video))
    openness = curves(None, phones, len(measured), rate)[:, 0]
    score, backwards = sync.sync_score(measured, openness), sync.sync_score(measured, openness[::-1])
    closed = sync.closed_share(measured, phones, rate)
    count = sum(arpabet(phone.name) in BILABIALS for phone in phones)
    return Quality(
        picture_s,
        sound_s,
        rate,
        score.correlation,
        backwards.correlation,
        score.lag_frames,
        closed.bilabials,
        count,
    )


def _pictures(video: Path) -> Iterator[Picture]:
    from musetalk_core.media.decoder import opened_decoder
    from musetalk_core.media.normalise import Normaliser

    with opened_decoder(video, Limits()) as decoder:
        normaliser: Normaliser | None = None
        for frame in decoder.frames():
            normaliser = normaliser or Normaliser(frame, None)
            yield normaliser.picture(frame)


def heard_phones(audio: Path, text: str | None) -> list[Phone]:
    """
    Listen to a sound file.

    Args:
        audio: the file.
        text:  its words, if known.

    Returns:
        Its phones with times; none when nothing could be recognised.
    """
    from musetalk_core.media.audio import decode_speech
    from musetalk_core.speech.align import phones_of
    from musetalk_core.speech.samples import PcmFile

    with TemporaryDirectory() as folder:
        pcm = Path(folder) / "speech.f32"
        decode_speech(audio, pcm)
        return phones_of(PcmFile(pcm), text)[0]
