using Edge.Local.Processes;
using Edge.Testing;
using Xunit.Sdk;

namespace Edge.Ctl.Tests.Packaging;

/// <summary>The Debian package: its script builds one of the programs as they are, dpkg reads it, and what it holds runs.</summary>
[Trait("Category", "Kubernetes")]
public sealed class DebTests : IDisposable
{
    private static readonly ToolOptions s_patient = new(TimeProvider.System) { Deadline = TimeSpan.FromMinutes(5) };

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [SkippableFact]
    public async Task The_package_has_programs_units_and_config_and_its_programs_run()
    {
        Skip.If(Tool.OnPath("dpkg-deb") is null, "dpkg-deb");
        foreach (var program in (string[])["edgecore", "cloudcore", "edgectl"])
            Directory.CreateSymbolicLink(_directory.File(program), Path.GetDirectoryName(Executables.Find(program))!);
        // The links are followed: what is packed is what they lead to.
        var from = Directory.CreateDirectory(_directory.File("from")).FullName;
        foreach (var program in (string[])["edgecore", "cloudcore", "edgectl"])
            await Tool.RunAsync("cp", ["-RL", _directory.File(program), Path.Combine(from, program)], s_patient, CancellationToken.None);

        var script = Path.Combine(Executables.SourceTree!, "packaging/build-deb.sh");
        var deb = (await Tool.RunAsync(script, ["--from", from, "--needs-dotnet", "--out", _directory.File("out"), "--version", "9.8.7"], s_patient, CancellationToken.None)).Trim();
        Assert.EndsWith("/edge_9.8.7_" + (await Tool.RunAsync("dpkg", ["--print-architecture"], s_patient, CancellationToken.None)).Trim() + ".deb", deb, StringComparison.Ordinal);

        var control = await Tool.RunAsync("dpkg-deb", ["-f", deb, "Package", "Version", "Depends"], s_patient, CancellationToken.None);
        Assert.Contains("Package: edge\nVersion: 9.8.7\n", control, StringComparison.Ordinal);
        Assert.Contains("libsqlite3-0", control, StringComparison.Ordinal);
        Assert.Contains(", aspnetcore-runtime-10.0\n", control + "\n", StringComparison.Ordinal); // these are the tests' own builds
        var contents = await Tool.RunAsync("dpkg-deb", ["-c", deb], s_patient, CancellationToken.None);
        foreach (var path in (string[])["./usr/lib/systemd/system/edgecore.service", "./usr/lib/systemd/system/cloudcore.service", "./etc/kubeedge/config/cloudcore.yaml", "./usr/bin/edgectl -> ../lib/edge/edgectl/edgectl"])
            Assert.Contains(path, contents, StringComparison.Ordinal);
        Assert.All(contents.Split('\n', StringSplitOptions.RemoveEmptyEntries), line => Assert.Contains(" root/root ", line, StringComparison.Ordinal));
        Assert.DoesNotContain(".pdb", contents, StringComparison.Ordinal);

        var root = _directory.File("root");
        await Tool.RunAsync("dpkg-deb", ["-x", deb, root], s_patient, CancellationToken.None);
        Assert.Contains("edgectl join", await Tool.RunAsync(Path.Combine(root, "usr/bin/edgectl"), ["--help"], s_patient, CancellationToken.None), StringComparison.Ordinal);
        Assert.Contains("kind: EdgeCore", await Tool.RunAsync(Path.Combine(root, "usr/bin/edgecore"), ["--minconfig"], s_patient, CancellationToken.None), StringComparison.Ordinal);
        var check = await Tool.RunAsync(Path.Combine(root, "usr/bin/cloudcore"), ["--check", "--config", Path.Combine(root, "etc/kubeedge/config/cloudcore.yaml")], s_patient, CancellationToken.None);
        Assert.EndsWith("is valid\n", check, StringComparison.Ordinal);
        if (Tool.OnPath("systemd-analyze") is not null)
        {
            // It looks for the programs at their final place; everything else that it says is a mistake in a unit.
            var verdict = await Tool.TryRunAsync("systemd-analyze", ["verify", "--man=no", Path.Combine(root, "usr/lib/systemd/system/edgecore.service")], s_patient, CancellationToken.None);
            Assert.DoesNotContain("Unknown", verdict.Error, StringComparison.Ordinal);
        }
    }

    [SkippableFact]
    public async Task A_program_that_needs_an_installed_DotNet_is_refused_and_the_fix_is_named()
    {
        Skip.If(Tool.OnPath("dpkg-deb") is null, "dpkg-deb");
        var (from, built) = (_directory.File("from"), _directory.File("out"));
        foreach (var program in (string[])["edgecore", "cloudcore", "edgectl"])
        {
            Directory.CreateDirectory(Path.Combine(from, program));
            File.WriteAllText(Path.Combine(from, program, program), "#!/bin/sh\n");
            File.SetUnixFileMode(Path.Combine(from, program, program), (UnixFileMode)Convert.ToInt32("755", 8));
            // As 'dotnet publish' writes it; edgectl's without a runtime.
            File.WriteAllText(
                Path.Combine(from, program, program + ".runtimeconfig.json"),
                $$"""{"runtimeOptions":{"tfm":"net10.0","{{(program == "edgectl" ? "frameworks" : "includedFrameworks")}}":[{"name":"Microsoft.NETCore.App","version":"10.0.0"}]} }""");
        }

        var script = Path.Combine(Executables.SourceTree!, "packaging/build-deb.sh");
        string[] arguments = ["--from", from, "--out", built, "--arch", "amd64", "--version", "1"];
        var refused = await Tool.TryRunAsync(script, arguments, s_patient, CancellationToken.None);
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains($"{from}/edgectl/edgectl needs an installed .NET", refused.Error, StringComparison.Ordinal);
        Assert.Contains($"dotnet publish cloud/Edgectl -c Release -r linux-x64 --self-contained -o {from}/edgectl", refused.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(built));

        // The same with a runtime of its own is taken, and asks for none.
        File.Copy(Path.Combine(from, "edgecore/edgecore.runtimeconfig.json"), Path.Combine(from, "edgectl/edgectl.runtimeconfig.json"), overwrite: true);
        var deb = (await Tool.RunAsync(script, arguments, s_patient, CancellationToken.None)).Trim();
        await PurgeAsync(deb);
        Assert.DoesNotContain("aspnetcore-runtime", await Tool.RunAsync("dpkg-deb", ["-f", deb, "Depends"], s_patient, CancellationToken.None), StringComparison.Ordinal);
    }

    // Removing leaves what the programs keep; purging leaves nothing of it, and what is another's.
    private async Task PurgeAsync(string deb)
    {
        var (control, root) = (_directory.File("control"), _directory.File("machine"));
        await Tool.RunAsync("dpkg-deb", ["-e", deb, control], s_patient, CancellationToken.None);
        string[] own =
        [
            "etc/kubeedge/config/edgecore.yaml", "etc/kubeedge/ca/rootCA.crt", "etc/kubeedge/certs/server.key", "var/lib/kubeedge/edgecore.db", "var/lib/edge/cloudcore/ca.key",
            "var/lib/edge/backups/000001-20261122T040000000/edgecore.yaml", "etc/systemd/system/edgecore.service",
        ];
        foreach (var file in own.Append("etc/systemd/system/other.service"))
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(root, file))!);
            File.WriteAllText(Path.Combine(root, file), "# Written by 'edgectl join'; 'edgectl reset' removes it.\n");
        }

        foreach (var (action, left) in new[] { ("remove", own.Length + 1), ("purge", 1) })
        {
            await Tool.RunAsync("env", [$"DPKG_ROOT={root}", Path.Combine(control, "postrm"), action], s_patient, CancellationToken.None);
            Assert.Equal(left, Directory.GetFiles(root, "*", SearchOption.AllDirectories).Length);
        }

        Assert.False(Directory.Exists(Path.Combine(root, "etc/kubeedge")));
    }

    [Fact]
    public async Task Bad_arguments_name_themselves()
    {
        var script = Path.Combine(Executables.SourceTree!, "packaging/build-deb.sh");
        foreach (var (arguments, text) in new (string[], string)[] { (["--arch", "z80"], "--arch 'z80' must be"), (["--wrong"], "'--wrong' is not known"), (["--version", "x"], "is no Debian version"), (["--needs-dotnet"], "is for programs that --from names") })
        {
            var result = await Tool.TryRunAsync(script, arguments, s_patient, CancellationToken.None);
            if (result.ExitCode == 0 || !result.Error.Contains(text, StringComparison.Ordinal))
                throw new XunitException($"{string.Join(' ', arguments)}: {result.ExitCode} {result.Error}");
        }
    }
}
