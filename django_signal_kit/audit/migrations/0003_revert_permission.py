from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('signal_kit_audit', '0002_auditseal'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='auditentry',
            options={'ordering': ('-id',), 'permissions': (('revert_auditentry', 'Can revert what an audit entry tells'),), 'verbose_name': 'audit entry', 'verbose_name_plural': 'audit entries'},
        ),
    ]
