from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("calls", "0003_recording_parts"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="plivoaccount",
            options={
                "base_manager_name": "objects",
                "ordering": ["name"],
                "permissions": [("test_plivoaccount", "Can test the connection of a Plivo account")],
                "verbose_name": "Plivo account",
            },
        ),
    ]
