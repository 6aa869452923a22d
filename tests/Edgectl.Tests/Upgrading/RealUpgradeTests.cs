using System.Security.Cryptography;
using Edge.Ctl.Upgrading;
using Edge.Local.Processes;
using Edge.Testing;

namespace Edge.Ctl.Tests.Upgrading;

/// <summary>The real edgecore through an upgrade: its --version, --check, ports file and /readyz are what edgectl takes them for.</summary>
[Trait("Category", "Kubernetes")]
public sealed class RealUpgradeTests : IAsyncLifetime
{
    private static readonly ToolOptions s_patient = new(TimeProvider.System) { Deadline = TimeSpan.FromMinutes(3) };
    private readonly TempDirectory _directory = new();

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        if (File.Exists(_directory.File("stop")))
            await Tool.TryRunAsync(_directory.File("stop"), [], s_patient, default);
        _directory.Dispose();
    }

    [Fact]
    public async Task Edgecore_is_upgraded_and_a_package_whose_libraries_are_broken_is_not_taken()
    {
        var (program, config, data) = (_directory.File("lib/edgecore"), _directory.File("edgecore.yaml"), _directory.File("data"));
        CopyProgram(program);
        Directory.CreateDirectory(data);
        await File.WriteAllTextAsync(config, """
            apiVersion: edgecore.config.kubeedge.io/v1alpha2
            kind: EdgeCore
            commonConfig:
              monitorServer: {bindAddress: "127.0.0.1:0"}
            modules:
              edged: {enable: false, tailoredKubeletConfig: {readOnlyPort: 0}}
              edgeHub:
                token: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.eyJhbGciOiJIUzI1NiJ9.e30.AAAA
                httpServer: https://127.0.0.1:9
                websocket: {server: "127.0.0.1:9"}
            """);
        Script("start", $"setsid {program}/edgecore --config {config} --data-dir {data} </dev/null >>{data}/log 2>&1 &\necho $! > {data}/pid");
        Script("stop", $"[ -f {data}/pid ] || exit 0\nkill $(cat {data}/pid)\nwhile kill -0 $(cat {data}/pid) 2>/dev/null; do sleep 0.05; done\nrm {data}/pid");
        await Tool.RunAsync(_directory.File("start"), [], s_patient, default);
        var node = new NodePlaces(program, config, data, _directory.File("backups"), _directory.File("stop"), _directory.File("start")) { ReadyWithin = TimeSpan.FromSeconds(60), Settle = TimeSpan.Zero };
        using (var control = new NodeControl(node, TimeProvider.System))
            await control.AwaitReadyAsync(connected: false, default);

        var version = await NodeControl.VersionAsync(program, default);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var next = _directory.File("next");
        CopyProgram(next);
        await File.WriteAllTextAsync(Path.Combine(next, "marker"), "new");
        NodePackage.Write(next, version, NodePackage.ThisArchitecture, key.ExportPkcs8PrivateKeyPem(), _directory.File("good.tar.gz"));
        var lines = new List<string>();
        var upgrade = new NodeUpgrade(node, TimeProvider.System, lines.Add);
        var end = await upgrade.UpgradeAsync(_directory.File("good.tar.gz"), version, key.ExportSubjectPublicKeyInfoPem(), "", default);
        Assert.True(end.Step == UpgradeStep.Succeeded, string.Join('\n', lines) + (File.Exists(data + "/log") ? await File.ReadAllTextAsync(data + "/log") : ""));
        Assert.True(File.Exists(Path.Combine(program, "marker")));

        File.Delete(Path.Combine(next, "Edge.Common.dll"));
        NodePackage.Write(next, version, NodePackage.ThisArchitecture, key.ExportPkcs8PrivateKeyPem(), _directory.File("broken.tar.gz"));
        end = await upgrade.UpgradeAsync(_directory.File("broken.tar.gz"), version, key.ExportSubjectPublicKeyInfoPem(), "", default);
        Assert.Equal(UpgradeStep.Refused, end.Step);
        Assert.Contains("Edge.Common", end.Problem, StringComparison.Ordinal);

        end = await upgrade.RollBackAsync(NodeBackup.List(node.Backups)[^1].Directory, default);
        Assert.True(end.Step == UpgradeStep.RolledBack, end.RollBackProblem);
        Assert.False(File.Exists(Path.Combine(program, "marker")));
    }

    // Without the libraries for other systems, which only make it large.
    private static void CopyProgram(string to)
    {
        var from = Path.GetDirectoryName(Executables.Find("edgecore"))!;
        Directory.CreateDirectory(to);
        foreach (var file in Directory.GetFiles(from).Where(file => Path.GetExtension(file) is not (".pdb" or ".xml")))
        {
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
            File.SetUnixFileMode(Path.Combine(to, Path.GetFileName(file)), File.GetUnixFileMode(file));
        }
    }

    private void Script(string name, string text)
    {
        File.WriteAllText(_directory.File(name), $"#!/bin/sh\n{text}\n");
        File.SetUnixFileMode(_directory.File(name), (UnixFileMode)Convert.ToInt32("755", 8));
    }
}
