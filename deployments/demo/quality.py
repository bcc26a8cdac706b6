"""Quality figures of a rendered video: stream durations, lip-sync score, closed lips on p, b, m."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.speech.phones import Phone


@dataclass(frozen=True, slots=True)
class Quality:
    """
    Measurements of one video.

    Attributes:
        picture_s:   duration of the video stream in seconds.
        sound_s:     duration of the audio stream in seconds.
        rate:        frames per second.
        score:       correlation of the measured lip aperture with the one expected from the phones, times the
                     movement and the rounding movement; -1..1; None without phones.
        backwards:   the same for the phones in reverse order: the baseline of any moving mouth.
        movement:    share 0..1 of the movement that speech has; a fixed grin has almost none.
        rounding:    correlation -1..1 of the width of the mouth with rounded and spread sounds.
        rounding_movement: share 0..1 of the change of the width that speech has.
        lag_frames:  lag in frames at which the correlation was found; positive if the lips are late.
        closed:      share 0..1 of the bilabial phones (p, b, m) on which the lips close.
        bilabials:   number of bilabial phones.
    """

    picture_s: float
    sound_s: float
    rate: Fraction
    score: float | None
    backwards: float
    movement: float
    rounding: float
    rounding_movement: float
    lag_frames: int
    closed: float
    bilabials: int

    def report_lines(self) -> list[str]:
        """Return the measurements as lines of text."""
        frames = abs(self.picture_s - self.sound_s) * float(self.rate)
        lengths = f"video {self.picture_s:.3f} s, audio {self.sound_s:.3f} s: difference {frames:.1f} frames"
        if self.score is None:
            return [lengths]
        closed_count = round(self.closed * self.bilabials)
        return [
            lengths,
            f"lip-sync score {self.score:.2f} at a lag of {self.lag_frames:+d} frames,"
            f" {self.backwards:.2f} with the speech reversed",
            f"share of the least movement of speech: opening {self.movement:.0%},"
            f" rounding {self.rounding_movement:.0%} (correlation {self.rounding:.2f})",
            f"lips closed on {closed_count} of {self.bilabials} p, b, m ({self.closed:.0%})",
        ]


def measure_quality(video: Path, phones: Sequence[Phone]) -> Quality:
    """
    Measure the quality of a rendered video, and its lip sync against the phones of its speech.

    Args:
        video:  video file.
        phones: timed phones of the speech; empty skips the lip-sync measurements.

    Raises:
        MediaUnreadable: the file is not a readable video.
    """
    from musetalk_core.media.probe import probe, require_audio, require_picture
    from musetalk_core.quality import lip_sync_score
    from musetalk_core.speech.mouth_curves import mouth_curves
    from musetalk_core.speech.visemes import BILABIALS, to_arpabet

    info = probe(video)
    rate = require_picture(info).rate
    picture_s, sound_s = float(info.duration_s or 0), float(require_audio(info).duration_s or 0)
    if not phones:
        return Quality(picture_s, sound_s, rate, None, 0.0, 0.0, 0.0, 0.0, 0, 0.0, 0)
    lip_apertures, lip_widths = lip_sync_score.lip_shapes(_read_frames(video)).T
    expected_apertures, expected_widths, _ = mouth_curves(None, phones, len(lip_apertures), rate).T
    score, backwards = (
        lip_sync_score.sync_score(lip_apertures, expected_apertures),
        lip_sync_score.sync_score(lip_apertures, expected_apertures[::-1]),
    )
    movement = lip_sync_score.movement_share(lip_apertures)
    rounding_movement = lip_sync_score.rounding_share(lip_widths)
    closed = lip_sync_score.closed_share(lip_apertures, phones, rate)
    bilabial_count = sum(to_arpabet(phone.name) in BILABIALS for phone in phones)
    return Quality(
        picture_s,
        sound_s,
        rate,
        score.correlation * movement * rounding_movement,
        backwards.correlation * movement * rounding_movement,
        movement,
        lip_sync_score.sync_score(lip_widths, expected_widths).correlation,
        rounding_movement,
        score.lag_frames,
        closed.bilabials,
        bilabial_count,
    )


def _read_frames(video: Path) -> Iterator[Picture]:
    from musetalk_core.media.image.normalise import Normaliser
    from musetalk_core.media.video.decoder import open_decoder

    with open_decoder(video, MediaLimits()) as decoder:
        normaliser: Normaliser | None = None
        for frame in decoder.frames():
            normaliser = normaliser or Normaliser(frame, None)
            yield normaliser.to_picture(frame)


def recognize_phones(audio: Path, text: str | None) -> list[Phone]:
    """
    Recognize the phones of an audio file.

    Args:
        audio: audio file.
        text:  transcript, if known.

    Returns:
        Timed phones; empty if no speech was recognized.
    """
    from musetalk_core.formats.pcm import PcmFile
    from musetalk_core.media.audio.decode import decode_speech
    from musetalk_core.speech.alignment.align import find_phones

    with TemporaryDirectory() as folder:
        pcm = Path(folder) / "speech.f32"
        decode_speech(audio, pcm)
        return find_phones(PcmFile(pcm), text)[0]
