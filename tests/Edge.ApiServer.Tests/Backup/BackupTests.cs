using System.Formats.Tar;
using System.IO.Compression;
using System.Net;
using Edge.ApiServer.Backup;
using Edge.ApiServer.Tests.Kubectl;
using Edge.ApiServer.Tests.Rest;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Backup;

[Trait("Category", "Kubernetes")]
public sealed class BackupTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("edge-backup-test-").FullName;
    private readonly ApiFixture _api = new();

    private string Archive => Path.Combine(_directory, "backup.tar.gz");

    public Task InitializeAsync() => _api.StartAsync(TimeProvider.System);

    public async Task DisposeAsync()
    {
        await _api.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [SkippableFact]
    public async Task A_backup_taken_while_writers_write_restores_elsewhere_and_kubectl_sees_everything()
    {
        var kubectl = (string)((IEnumerable<object[]>)KubectlTests.Binaries).First()[0];
        Skip.If(kubectl.Length == 0, "no kubectl on PATH or in EDGE_KUBECTL");
        var ns = await _api.NamespaceAsync();
        var count = 0;
        for (; count < 30; count++)
            await _api.PostAsync($"/api/v1/namespaces/{ns}/configmaps", $$$"""{"metadata":{"name":"m-{{{count}}}"},"data":{"n":"{{{count}}}"}}""");
        using var stop = new CancellationTokenSource();
        var writer = Task.Run(async () =>
        {
            for (var i = count; !stop.IsCancellationRequested; i++)
                await _api.PostAsync($"/api/v1/namespaces/{ns}/configmaps", $$$"""{"metadata":{"name":"m-{{{i}}}"},"data":{"n":"{{{i}}}"}}""");
        });
        var made = ApiBackup.Write(_api.Directory, Archive, TimeProvider.System);
        await stop.CancelAsync();
        await writer;
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Archive));
        Assert.Contains("exists", Assert.Throws<BackupException>(() => ApiBackup.Write(_api.Directory, Archive, TimeProvider.System)).Message, StringComparison.Ordinal);

        var target = Path.Combine(_directory, "restored");
        var restored = ApiBackup.Restore(Archive, target, TimeProvider.System);
        Assert.Equal(made.Objects, restored.Objects);
        Assert.True(restored.Version > made.Version);
        await using var server = await EmbeddedApiServer.StartAsync(new ApiServerOptions { DataDirectory = target, Port = 0 }, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance, default);
        var run = new KubectlRunner(kubectl, server.KubeconfigPath, ns, Directory.CreateDirectory(Path.Combine(_directory, "home")).FullName);
        var names = (await run.OkAsync("get configmaps -o name")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal).ToList();
        // A prefix of what was written, of at least what was there before: one moment of a running server.
        Assert.True(names.Count >= 30);
        Assert.Equal(Enumerable.Range(0, names.Count).Select(i => $"configmap/m-{i}").Order(StringComparer.Ordinal), names);
        Assert.Equal(await File.ReadAllTextAsync(Path.Combine(_api.Directory, "pki", "ca.crt")), await File.ReadAllTextAsync(Path.Combine(target, "pki", "ca.crt")));
        await run.OkAsync("create configmap after --from-literal=a=b");
        foreach (var key in (string[])["apiserver.db", "pki/ca.key", "pki/sa.key", "admin.token"])
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(target, key)));
    }

    [Fact]
    public async Task After_a_restore_in_place_old_watches_get_410_and_informers_find_the_restored_state()
    {
        var ns = await _api.NamespaceAsync();
        await _api.PostAsync($"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"kept"}}""");
        ApiBackup.Write(_api.Directory, Archive, TimeProvider.System);
        var lost = await _api.PostAsync($"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"lost"}}""");
        var secret = await _api.PostAsync($"/api/v1/namespaces/{ns}/secrets", """{"metadata":{"name":"first-of-its-kind"}}""");

        Assert.Contains("is running", Assert.Throws<BackupException>(() => ApiBackup.Restore(Archive, _api.Directory, TimeProvider.System)).Message, StringComparison.Ordinal);
        await _api.StopAsync();
        var restored = ApiBackup.Restore(Archive, _api.Directory, TimeProvider.System);
        await _api.StartAsync(TimeProvider.System);
        Assert.Equal(["kept"], (await _api.GetAsync($"/api/v1/namespaces/{ns}/configmaps")).Items("items").Select(item => item.Name()));

        // Enough writes that the numbers of versions would have met again; and a kind of which nothing is left.
        for (var i = 0; i < 5; i++)
            await _api.PostAsync($"/api/v1/namespaces/{ns}/configmaps", $$$"""{"metadata":{"name":"new-{{{i}}}"}}""");
        foreach (var (kind, version) in new[] { ("configmaps", lost.ResourceVersion()), ("secrets", secret.ResourceVersion()), ("pods", lost.ResourceVersion()) })
        {
            using var old = await _api.WatchAsync($"/api/v1/namespaces/{ns}/{kind}?watch=true&resourceVersion={version}");
            var (type, status) = (await old.NextAsync())!.Value;
            Assert.Equal(("ERROR", 410L), (type, status.Number(0, "code")));
        }

        var list = await _api.GetAsync($"/api/v1/namespaces/{ns}/configmaps");
        Assert.True(list.Version() >= restored.Version);
        using var fresh = await _api.WatchAsync($"/api/v1/namespaces/{ns}/configmaps?watch=true&resourceVersion={list.ResourceVersion()}");
        await _api.PostAsync($"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"seen"}}""");
        await fresh.ExpectAsync("ADDED", "seen");
        Assert.Single(Directory.GetDirectories(_api.Directory, "before-restore-*"));
        await _api.StopAsync();
        await _api.StartAsync(TimeProvider.System); // the floor outlives a restart
        using var again = await _api.WatchAsync($"/api/v1/namespaces/{ns}/secrets?watch=true&resourceVersion={secret.ResourceVersion()}");
        Assert.Equal("ERROR", (await again.NextAsync())?.Type);
    }

    [Fact]
    public void Damaged_and_foreign_archives_are_refused_and_nothing_is_changed()
    {
        var target = Path.Combine(_directory, "target");
        ApiBackup.Write(_api.Directory, Archive, TimeProvider.System);
        var bytes = File.ReadAllBytes(Archive);
        foreach (var (name, content) in new[] { ("cut", bytes[..(bytes.Length / 2)]), ("empty", []), ("text", "no archive"u8.ToArray()) })
        {
            var file = Path.Combine(_directory, name);
            File.WriteAllBytes(file, content);
            Assert.Throws<BackupException>(() => ApiBackup.Restore(file, target, TimeProvider.System));
        }

        var evil = Path.Combine(_directory, "evil.tar.gz");
        using (var gzip = new GZipStream(File.Create(evil), CompressionLevel.Fastest))
        using (var tar = new TarWriter(gzip))
            tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, "../escaped") { DataStream = new MemoryStream([1]) });
        Assert.Contains("'../escaped'", Assert.Throws<BackupException>(() => ApiBackup.Restore(evil, target, TimeProvider.System)).Message, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(_directory, "escaped")));

        var changed = Path.Combine(_directory, "changed.tar.gz");
        Repack(changed, (name, content) => name == "admin.token" ? [.. content, (byte)'x'] : content);
        Assert.Contains("damaged: admin.token", Assert.Throws<BackupException>(() => ApiBackup.Restore(changed, target, TimeProvider.System)).Message, StringComparison.Ordinal);
        Assert.Equal(["apiserver.lock"], Directory.GetFileSystemEntries(target).Select(Path.GetFileName));
        Assert.Contains("--data-dir", Assert.Throws<BackupException>(() => ApiBackup.Write(target, Path.Combine(_directory, "none"), TimeProvider.System)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_second_server_on_the_same_directory_is_refused()
    {
        var error = await Assert.ThrowsAsync<ApiServerException>(() => EmbeddedApiServer.StartAsync(
            new ApiServerOptions { DataDirectory = _api.Directory, Port = 0 }, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance, default));
        Assert.Contains("in use by another cloudcore", error.Message, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await _api.Client.GetAsync(new Uri("/api/v1/nodes", UriKind.Relative))).StatusCode);
    }

    private void Repack(string target, Func<string, byte[], byte[]> change)
    {
        using var input = new TarReader(new GZipStream(File.OpenRead(Archive), CompressionMode.Decompress));
        using var gzip = new GZipStream(File.Create(target), CompressionLevel.Fastest);
        using var output = new TarWriter(gzip);
        while (input.GetNextEntry(copyData: true) is { } entry)
        {
            using var content = new MemoryStream();
            entry.DataStream?.CopyTo(content);
            output.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, entry.Name) { DataStream = new MemoryStream(change(entry.Name, content.ToArray())) });
        }
    }
}
