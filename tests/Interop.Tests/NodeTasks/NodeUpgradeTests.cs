using System.Globalization;
using System.Security.Cryptography;
using Edge.Common.Configuration;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.NodeTasks;

/// <summary>NodeUpgradeJobs from kubectl to another edgecore on the node and back: real cloudcore, edgecore and edgectl. Two scripts are the node's service manager; nothing else is in anything's place.</summary>
[Trait("Category", "Kubernetes")]
[Collection(nameof(EdgeCollection))]
public sealed class NodeUpgradeTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(3);

    [SkippableFact]
    public async Task A_node_is_upgraded_once_confirmed_and_a_version_that_does_not_start_is_rolled_back()
    {
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { CloudCoreSettings = ["modules.taskManager.enable=true"] });
        var node = edge.Local.Nodes[0];
        var own = await VersionAsync(edge);
        var files = new Files(edge.Local, node);
        await files.PackAsync("9.8.1", own, isBroken: false);
        await files.PackAsync("9.8.2", own, isBroken: true);
        await node.Process!.StopAsync(TimeSpan.FromSeconds(20));
        await files.StartServiceAsync(own);
        try
        {
            await edge.KubectlAsync("apply -f -", Job("forth", "9.8.1", confirm: true));
            await edge.WaitForAsync("the upgrade waits for its confirmation", async () => (await ActionsAsync(edge, "nodeupgradejob/forth")).Contains("WaitingConfirmation=True", StringComparison.Ordinal), s_long);

            // Meanwhile the node does its other jobs; this one ends with what it cannot do.
            await edge.KubectlAsync("apply -f -", """
                {"apiVersion": "operations.kubeedge.io/v1alpha2", "kind": "ConfigUpdateJob", "metadata": {"name": "beside"}, "spec": {"nodeNames": ["edge-1"], "updateFields": {"modules.nonsense": "1"}}}
                """);
            Assert.Equal("Failure", await EndAsync(edge, "configupdatejob/beside"));
            Assert.Equal($"v1.32.10-edge-v{own}", await VersionTextAsync(edge));

            Assert.Contains("the upgrade goes on", await files.EdgectlAsync("upgrade", "confirm", "--data-dir", node.DataDirectory), StringComparison.Ordinal);
            Assert.True(await EndAsync(edge, "nodeupgradejob/forth") == "Completed", await StatusAsync(edge, "nodeupgradejob/forth") + files.Log());
            Assert.Equal("Check=True WaitingConfirmation=True BackUp=True Upgrade=True ", await ActionsAsync(edge, "nodeupgradejob/forth"));
            Assert.Equal($"{own} 9.8.1", await FieldAsync(edge, "nodeupgradejob/forth", "{.status.nodeStatus[0].historicVersion} {.status.nodeStatus[0].currentVersion}"));
            await edge.WaitForAsync("the Node tells the new version", async () => await VersionTextAsync(edge) == "v1.32.10-edge-v9.8.1", s_long);
            Assert.Equal("9.8.1", await files.ProgramVersionAsync());

            await edge.KubectlAsync("apply -f -", Job("astray", "9.8.2", confirm: false));
            Assert.True(await EndAsync(edge, "nodeupgradejob/astray") == "Failure", await StatusAsync(edge, "nodeupgradejob/astray") + files.Log());
            Assert.Equal("Check=True BackUp=True Upgrade=False RollBack=True ", await ActionsAsync(edge, "nodeupgradejob/astray"));
            Assert.Matches("^Upgrade failed: edgecore was not ready within 20 s: .*; the node was rolled back$", await FieldAsync(edge, "nodeupgradejob/astray", "{.status.nodeStatus[0].reason}"));
            Assert.Equal("9.8.1", await files.ProgramVersionAsync());
            await edge.WaitForAsync("the node is ready with the version before", async () => await VersionTextAsync(edge) == "v1.32.10-edge-v9.8.1" && await edge.Local.IsNodeReadyAsync("edge-1", default), s_long);

            await edge.KubectlAsync("apply -f -", Job("arguments", "--help", confirm: false));
            Assert.Equal("Failure", await EndAsync(edge, "nodeupgradejob/arguments"));
            Assert.Contains("Check failed: spec.version is '--help', must be", await FieldAsync(edge, "nodeupgradejob/arguments", "{.status.nodeStatus[0].reason}"), StringComparison.Ordinal);
        }
        finally
        {
            await files.StopServiceAsync();
        }
    }

    private static string Job(string name, string version, bool confirm) => $$"""
        {"apiVersion": "operations.kubeedge.io/v1alpha2", "kind": "NodeUpgradeJob", "metadata": {"name": "{{name}}"},
         "spec": {"version": "{{version}}", "nodeNames": ["edge-1"], "requireConfirmation": {{(confirm ? "true" : "false")}}} }
        """;

    private static async Task<string> EndAsync(TestEdge edge, string job)
    {
        await edge.WaitForAsync($"{job} ends", async () => await FieldAsync(edge, job, "{.status.phase}") is "Completed" or "Failure", s_long);
        return await FieldAsync(edge, job, "{.status.phase}");
    }

    private static Task<string> FieldAsync(TestEdge edge, string what, string path) => edge.KubectlAsync(["get", what, "-o", "jsonpath=" + path]);

    private static Task<string> StatusAsync(TestEdge edge, string job) => FieldAsync(edge, job, "{.status}");

    private static Task<string> ActionsAsync(TestEdge edge, string job) => FieldAsync(edge, job, "{range .status.nodeStatus[0].actionFlow[*]}{.action}={.status} {end}");

    private static Task<string> VersionTextAsync(TestEdge edge) => FieldAsync(edge, "node/edge-1", "{.status.nodeInfo.kubeletVersion}");

    private static async Task<string> VersionAsync(TestEdge edge)
    {
        var text = await VersionTextAsync(edge);
        Assert.Matches(@"^v1\.\d+\.\d+-edge-v\d+\.\d+\.\d+$", text);
        return text[(text.IndexOf("-edge-v", StringComparison.Ordinal) + "-edge-v".Length)..];
    }

    /// <summary>What of the node lies on disk: edgecore in a directory of its own, its config, packages, and the scripts that stop and start it.</summary>
    private sealed class Files(LocalEdge edge, LocalNode node)
    {
        private const string ReadyWithin = "20";

        private string Root => Path.Combine(edge.Directory, "service");

        private string Program => Path.Combine(Root, "lib", "edgecore");

        public async Task StartServiceAsync(string own)
        {
            CopyProgram(Program, own, own);
            await File.WriteAllTextAsync(node.ConfigPath, SetKeys.Apply(await File.ReadAllTextAsync(node.ConfigPath), [
                $"modules.deviceTwin.dmiSockPath={node.DmiSocket}", "commonConfig.monitorServer.bindAddress=127.0.0.1:0", "modules.edged.tailoredKubeletConfig.readOnlyPort=0",
                "modules.edged.enable=false", "modules.taskManager.enable=true", $"modules.taskManager.upgrade.source=file://{Root}/packages", $"modules.taskManager.upgrade.publicKey={Root}/public.pem",
                $"modules.taskManager.upgrade.edgectl={Executables.Find("edgectl")}", $"modules.taskManager.upgrade.backupDirectory={Root}/backups",
                $"modules.taskManager.upgrade.stopWith={Root}/stop", $"modules.taskManager.upgrade.startWith={Root}/start", $"modules.taskManager.upgrade.readyWithin={ReadyWithin}",
            ]));
            Script("start", $"setsid {Program}/edgecore --config {node.ConfigPath} --data-dir {node.DataDirectory} </dev/null >>{edge.LogsDirectory}/service.log 2>&1 &\necho $! > {Root}/pid");
            Script("stop", $"[ -f {Root}/pid ] || exit 0\nkill $(cat {Root}/pid)\nwhile kill -0 $(cat {Root}/pid) 2>/dev/null; do sleep 0.05; done\nrm {Root}/pid");
            File.Delete(Path.Combine(node.DataDirectory, "edgecore.ports.json"));
            await Tool.RunAsync(Path.Combine(Root, "start"), [], edge.ToolOptions, default);
        }

        public Task StopServiceAsync() => Tool.TryRunAsync(Path.Combine(Root, "stop"), [], edge.ToolOptions, default);

        /// <summary>Packs this edgecore as another version, signed.</summary>
        /// <param name="isBroken">Whether a library that it takes only to run is none: it tells its version, reads its config, and dies at its start.</param>
        public async Task PackAsync(string version, string own, bool isBroken)
        {
            Directory.CreateDirectory(Root);
            var key = Path.Combine(Root, "private.pem");
            if (!File.Exists(key))
            {
                using var made = ECDsa.Create(ECCurve.NamedCurves.nistP256);
                await File.WriteAllTextAsync(key, made.ExportPkcs8PrivateKeyPem());
                await File.WriteAllTextAsync(Path.Combine(Root, "public.pem"), made.ExportSubjectPublicKeyInfoPem());
            }

            var (from, to) = (Path.Combine(Root, "build-" + version), Path.Combine(Root, "packages", version));
            CopyProgram(from, own, version);
            if (isBroken)
                await File.WriteAllBytesAsync(Path.Combine(from, "Microsoft.Data.Sqlite.dll"), [0x4d, 0x5a, 0, 0]);
            Directory.CreateDirectory(to);
            var architecture = System.Runtime.InteropServices.RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? "arm64" : "amd64";
            await EdgectlAsync("upgrade", "pack", "--from", from, "--version", version, "--key", key, "-o", Path.Combine(to, $"edgecore-{architecture}.tar.gz"));
        }

        public Task<string> EdgectlAsync(params string[] arguments) => Tool.RunAsync(Executables.Find("edgectl"), arguments, edge.ToolOptions, default);

        public async Task<string> ProgramVersionAsync() => (await Tool.RunAsync(Path.Combine(Program, "edgecore"), ["--version"], edge.ToolOptions, default)).Trim().Split('+')[0];

        public string Log() => File.Exists(Path.Combine(edge.LogsDirectory, "service.log")) ? File.ReadAllText(Path.Combine(edge.LogsDirectory, "service.log")) : "";

        // A program's version is text in its assemblies: another of the same length makes another version without another build.
        private static void CopyProgram(string to, string own, string version)
        {
            var from = Path.GetDirectoryName(Executables.Find("edgecore"))!;
            Directory.CreateDirectory(to);
            foreach (var file in Directory.GetFiles(from).Where(file => Path.GetExtension(file) is not (".pdb" or ".xml")))
            {
                var copy = Path.Combine(to, Path.GetFileName(file));
                var bytes = File.ReadAllBytes(file);
                if (Path.GetFileName(file) is "edgecore.dll" or "Edge.Core.dll")
                    Rename(bytes, own, version);
                File.WriteAllBytes(copy, bytes);
                File.SetUnixFileMode(copy, File.GetUnixFileMode(file));
            }
        }

        private static void Rename(byte[] bytes, string own, string version)
        {
            Assert.Equal(own.Length, version.Length);
            var (former, next) = (System.Text.Encoding.ASCII.GetBytes(own), System.Text.Encoding.ASCII.GetBytes(version));
            var count = 0;
            for (var at = 0; bytes.AsSpan(at).IndexOf(former) is >= 0 and var found; at += found + former.Length, count++)
                next.CopyTo(bytes, at + found);
            Assert.True(count > 0, string.Create(CultureInfo.InvariantCulture, $"the version {own} is not in the program"));
        }

        private void Script(string name, string text)
        {
            Directory.CreateDirectory(Root);
            File.WriteAllText(Path.Combine(Root, name), $"#!/bin/sh\n{text}\n");
            File.SetUnixFileMode(Path.Combine(Root, name), (UnixFileMode)Convert.ToInt32("755", 8));
        }
    }
}
