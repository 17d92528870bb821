import django.db.models.deletion
from django.db import migrations, models


def enrolments_that_go_on(apps, _schema_editor):
    """Launches that are still putting people in go on as rounds, from the first person: nobody is put in twice."""
    campaigns = apps.get_model("calls", "Campaign").objects.filter(status__in=["running", "paused"], enrolled_at=None)
    rounds = apps.get_model("calls", "CampaignRound").objects
    for pk, launched_at in campaigns.values_list("pk", "launched_at"):
        rounds.create(campaign_id=pk, kind="enrol", moved_at=launched_at)


class Migration(migrations.Migration):

    dependencies = [
        ('calls', '0030_caps_within_the_law'),
    ]

    operations = [
        migrations.CreateModel(
            name='CampaignRound',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('enrol', 'People are being put in'), ('changed', 'Something was changed, and when people are due is worked out anew'), ('held', 'Whoever is held is looked at again')], max_length=7)),
                ('after', models.CharField(blank=True, help_text='Whom it has passed last; empty: nobody.', max_length=80)),
                ('done', models.PositiveIntegerField(default=0, help_text='People whom it has passed.')),
                ('moved_at', models.DateTimeField(help_text='Last progress; without any for long the sweep starts it again.')),
                ('campaign', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rounds', to='calls.campaign')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.AddIndex(
            model_name='contact',
            index=models.Index(fields=['contact_list', 'id'], name='contact_of_a_list'),
        ),
        migrations.RunPython(enrolments_that_go_on, migrations.RunPython.noop),
    ]
