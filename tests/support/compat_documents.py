"""
Example requests to the two older services, as text: every field they documented, with its documented default.

Written after their descriptions, not copied. The first one's example had `//` comments, which JSON does not
know: they are left out.
"""

import json

INFERENCE_QUERY = {"avatar_id": "avator_1", "audio_id": "audio_1"}

INFERENCE = """{
    "version": "v15",
    "ffmpeg_path": "./ffmpeg/ffmpeg-master-latest-linux64-gpl/bin/",
    "gpu_id": 0,
    "vae_type": "sd-vae",
    "unet_config": "./models/musetalk/musetalk.json",
    "unet_model_path": "./models/musetalk/pytorch_model.bin",
    "whisper_dir": "./models/whisper",
    "bbox_shift": 0,
    "result_dir": "./results",
    "extra_margin": 10,
    "fps": 25,
    "audio_padding_length_left": 2,
    "audio_padding_length_right": 2,
    "batch_size": 30,
    "output_vid_name": null,
    "use_saved_coord": false,
    "saved_coord": false,
    "parsing_mode": "jaw",
    "left_cheek_width": 90,
    "right_cheek_width": 90,
    "skip_save_images": false,
    "s3_bucket": "project-media",
    "s3_prefix": "lip_sync/outputs/",
    "avatars": {
        "avator_1": {
            "preparation": true,
            "video_path": "S3://project-media/lip_sync/inputs/0606446c_avatar_video.mp4",
            "bbox_shift": 0,
            "audio_clips": {
                "audio_1": "s3://project-media/lip_sync/inputs/remix_vc_00098415_audio.wav"
            }
        }
    }
}
"""

INFERENCE_MINIMAL = """{
    "avatars": {
        "avator_1": {
            "video_path": "s3://project-media/lip_sync/inputs/0606446c_avatar_video.mp4",
            "audio_clips": {"audio_1": "s3://project-media/lip_sync/inputs/remix_vc_00098415_audio.wav"}
        }
    }
}
"""

INFERENCE_NAME = "0606446c_avatar_video_remix_vc_00098415_audio"
"""Of the result, when `output_vid_name` is null."""

C3 = {
    "/csm": """{
    "text": "Hello, this is a test of the voice.",
    "voice": "random",
    "temperature": 0.9,
    "topk": 50,
    "max_audio_length": 10000,
    "pause_duration": 150,
    "notify_url": "https://example.com/webhook",
    "max_time": 1200,
    "complete_in": 3600
}
""",
    "/csm, the version before": """{
    "monologue": "Hello, this is a test of the voice.",
    "voice": "conversational_a"
}
""",
    "/csm, several utterances": """{
    "monologue": ["Hello.", "This is a test of the voice."],
    "voice": "clone",
    "reference_audio_url": "https://example.com/voice.wav",
    "reference_text": "This is how I speak."
}
""",
    "/portrait": """{
    "image_url": "https://example.com/portrait.png",
    "audio_url": "https://example.com/speech.mp3",
    "notify_url": "https://example.com/webhook"
}
""",
    "/whisper": """{
    "audio_url": "https://example.com/speech.mp3",
    "model": "medium",
    "task": "transcribe",
    "language": "",
    "notify_url": "https://example.com/webhook"
}
""",
    "/analyze": """{
    "image_url": "https://example.com/picture.jpg",
    "notify_url": "https://example.com/webhook"
}
""",
}
"""By route; what follows a comma tells variants of it apart."""

BODY = json.loads(INFERENCE)
