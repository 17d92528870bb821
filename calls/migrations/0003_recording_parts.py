from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("calls", "0002_call_draft_config"),
    ]

    operations = [
        migrations.AddField(
            model_name="recording",
            name="parts",
            field=models.JSONField(
                default=dict,
                help_text="Per stream host: whether it still holds tracks of the call (held), "
                "and why some are missing (error).",
            ),
        ),
        migrations.RemoveField(model_name="recording", name="host"),
    ]
