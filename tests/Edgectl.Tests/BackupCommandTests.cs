using System.CommandLine;
using Edge.ApiServer;
using Edge.Ctl.Commands;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Ctl.Tests;

[Trait("Category", "Kubernetes")]
public sealed class BackupCommandTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("edgectl-backup-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task Backup_works_beside_a_running_api_and_restore_waits_for_its_end()
    {
        var (data, archive) = (Path.Combine(_directory, "data"), Path.Combine(_directory, "b.tar.gz"));
        var options = new ApiServerOptions { DataDirectory = data, Port = 0 };
        await using (await EmbeddedApiServer.StartAsync(options, TimeProvider.System, NullLoggerFactory.Instance, default))
        {
            Assert.Equal(0, await BackupCommand.Create().Parse(["--data-dir", data, "-o", archive]).InvokeAsync());
            Assert.True(File.Exists(archive));
            Assert.Equal(1, await BackupCommand.Create().Parse(["--data-dir", data, "-o", archive]).InvokeAsync()); // it never overwrites
            Assert.Equal(1, await BackupCommand.CreateRestore().Parse([archive, "--data-dir", data]).InvokeAsync());
        }

        Assert.Equal(0, await BackupCommand.CreateRestore().Parse([archive, "--data-dir", data]).InvokeAsync());
        Assert.Equal(1, await BackupCommand.Create().Parse(["--data-dir", Path.Combine(_directory, "none")]).InvokeAsync());
        await using var again = await EmbeddedApiServer.StartAsync(options, TimeProvider.System, NullLoggerFactory.Instance, default);
        Assert.True(again.Port > 0);
    }
}
