using System.CommandLine;
using System.Globalization;
using Edge.Ctl.Joining;
using Edge.Ctl.OnNode;
using Edge.Ctl.Upgrading;
using Edge.Kubernetes;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl upgrade edge|pack</c>, <c>edgectl rollback edge</c> and <c>edgectl backup edge</c>: another version of edgecore on this node, and back.</summary>
internal static class UpgradeCommand
{
    public static Command Create() => new("upgrade", """
        Upgrades edgecore by signed packages, and makes them.

        Examples:
          edgectl upgrade edge --package edgecore-amd64.tar.gz --to 0.2.0 --public-key edge.pub
          edgectl upgrade pack --from out/edgecore --version 0.2.0 --key edge.pem -o edgecore-amd64.tar.gz
        """)
    {
        CreateEdge(),
        CreateConfirm(),
        CreatePack(),
    };

    public static Command CreateRollBack() => new("rollback", """
        Takes an upgrade back.

        Examples:
          edgectl rollback edge
        """)
    {
        CreateRollBackEdge(),
    };

    public static Command CreateBackup()
    {
        var places = new PlaceOptions();
        var command = new Command("edge", $"""
            On a node: copies edgecore's program, config and database (as it is at one moment, also while edgecore runs) into a directory of mode 0700, for 'edgectl rollback edge'.
            The newest {NodeBackup.Kept} are kept. The config may hold a token.

            Examples:
              edgectl backup edge
              edgectl backup edge --backup-dir /srv/backups
            """);
        places.AddTo(command, control: false);
        command.SetAction((parse, cancellationToken) => RunAsync("backup edge", async () =>
        {
            var made = await new NodeUpgrade(places.Read(parse), TimeProvider.System, Console.Out.WriteLine).BackUpAsync(cancellationToken);
            Console.Out.WriteLine($"{made.Directory}: edgecore {made.Version}, its config and its database");
            return 0;
        }));
        return command;
    }

    private static Command CreateEdge()
    {
        var places = new PlaceOptions();
        var package = new Option<string>("--package") { Description = "The package; its signature is beside it, with .sig at the end.", HelpName = "FILE", Required = true };
        var to = new Option<string>("--to") { Description = "The version that must be in it.", HelpName = "VERSION", Required = true };
        var key = new Option<string?>("--public-key") { Description = "Who may sign: an ECDSA P-256 public key in PEM. Without it modules.taskManager.upgrade.publicKey of edgecore's config.", HelpName = "FILE" };
        var verify = new Option<bool>("--verify") { Description = "Checks the package (signature, version, architecture, that it runs here and reads this config) and changes nothing." };
        var job = new Option<string>("--job") { Description = "The cloud's job that asked, for the journal.", DefaultValueFactory = _ => "", Hidden = true };
        var command = new Command("edge", """
            On a node: installs another version of edgecore. It checks the package's signature, backs up the present program, config and database, tries whether the
            new one runs here and reads the config, stops edgecore, swaps, starts the new one and waits until it is ready, and connected to the cloud where it was
            before. If it is not, everything is put back, and edgecore of the former version goes on. Containers run all the time.
            Ends with 0 when the new version runs, 1 when nothing was changed, 2 when it was rolled back, 3 when that failed too.

            Examples:
              edgectl upgrade edge --package edgecore-amd64.tar.gz --to 0.2.0 --public-key edge.pub
              edgectl upgrade edge --package edgecore-amd64.tar.gz --to 0.2.0 --verify
              edgectl upgrade edge --package p.tar.gz --to 0.2.0 --stop-with /opt/edge/stop --start-with /opt/edge/start
            """)
        {
            package, to, key, verify, job,
        };
        places.AddTo(command, control: true);
        command.SetAction((parse, cancellationToken) => RunAsync("upgrade edge", async () =>
        {
            var node = places.Read(parse);
            var pem = await ReadKeyAsync(parse.GetValue(key), node, cancellationToken);
            var upgrade = new NodeUpgrade(node, TimeProvider.System, Console.Out.WriteLine);
            var (file, version) = (Path.GetFullPath(parse.GetValue(package)!), parse.GetValue(to)!);
            if (parse.GetValue(verify))
            {
                await upgrade.CheckAsync(file, version, pem, cancellationToken);
                Console.Out.WriteLine($"{file} is edgecore {version}, rightly signed, and runs here");
                return 0;
            }

            var end = await upgrade.UpgradeAsync(file, version, pem, parse.GetValue(job)!, cancellationToken);
            return Tell("upgrade edge", end, $"edgecore {version} runs");
        }));
        return command;
    }

    private static Command CreateRollBackEdge()
    {
        var places = new PlaceOptions();
        var from = new Option<string?>("--from") { Description = "The directory of a backup; without it the newest, or that of an upgrade which was cut short.", HelpName = "DIR" };
        var list = new Option<bool>("--list") { Description = "Lists the backups and changes nothing." };
        var ifUnfinished = new Option<bool>("--if-unfinished") { Description = "Only takes back an upgrade that was cut short, by a power cut or a kill; else does nothing, and ends with 0." };
        var filesOnly = new Option<bool>("--files-only") { Description = "With --if-unfinished: neither stops nor starts edgecore, since the caller starts it next, as edgecore.service does." };
        var command = new Command("edge", """
            On a node: stops edgecore, puts a backup back, and starts it. The config comes back where it differs, and the database where the other version has another
            form of it; what was there is kept beside as .before-rollback.

            Examples:
              edgectl rollback edge --list
              edgectl rollback edge
              edgectl rollback edge --if-unfinished
            """)
        {
            from, list, ifUnfinished, filesOnly,
        };
        places.AddTo(command, control: true);
        command.Validators.Add(result =>
        {
            if (result.GetValue(filesOnly) && !result.GetValue(ifUnfinished))
                result.AddError("--files-only goes with --if-unfinished");
            if (result.GetValue(ifUnfinished) && (result.GetValue(list) || result.GetValue(from) is not null))
                result.AddError("--if-unfinished puts back that upgrade's own backup; leave --list and --from out");
        });
        command.SetAction((parse, cancellationToken) => RunAsync("rollback edge", async () =>
        {
            if (parse.GetValue(list))
            {
                Console.Out.Write(Output.Table(
                    ["TAKEN", "VERSION", "DIRECTORY"],
                    NodeBackup.List(places.ReadBackups(parse)).Select(one => (IReadOnlyList<string>)[one.Taken.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture), one.Version, one.Directory])));
                return 0;
            }

            var end = parse.GetValue(ifUnfinished) ? await RecoverAsync(parse, places, parse.GetValue(filesOnly), cancellationToken)
                : await new NodeUpgrade(places.Read(parse), TimeProvider.System, Console.Out.WriteLine).RollBackAsync(parse.GetValue(from), cancellationToken);
            return end is null or { Step: UpgradeStep.RolledBack } ? 0 : Tell("rollback edge", end, "");
        }));
        return command;
    }

    // It runs before each start of edgecore: where nothing is to do, nothing is looked for.
    private static async Task<UpgradeState?> RecoverAsync(ParseResult parse, PlaceOptions places, bool filesOnly, CancellationToken cancellationToken)
    {
        var end = NodeUpgrade.IsUnfinished(places.ReadBackups(parse))
            ? await new NodeUpgrade(places.ReadAfterCut(parse), TimeProvider.System, Console.Out.WriteLine).RecoverAsync(filesOnly, cancellationToken) : null;
        if (!NodeUpgrade.IsUnfinished(places.ReadBackups(parse)) && !filesOnly)
            await NodeControl.EndWatchAsync(cancellationToken);
        return end;
    }

    private static Command CreateConfirm()
    {
        var data = NodeAccess.CreateOption();
        var to = new Option<string?>("--to") { Description = "The version that must be the one that waits; without it whichever waits.", HelpName = "VERSION" };
        var command = new Command("confirm", """
            On a node: lets a NodeUpgradeJob with requireConfirmation go on, which waits here, and says of which version it is.

            Examples:
              edgectl upgrade confirm --to 0.2.0
              edgectl upgrade confirm
            """)
        {
            to, data,
        };
        command.SetAction((parse, _) => RunAsync("upgrade confirm", () =>
        {
            var version = UpgradeConfirmation.Give(Path.GetFullPath(parse.GetValue(data)!), parse.GetValue(to));
            Console.Out.WriteLine($"edgecore {version} is confirmed; the upgrade goes on");
            return Task.FromResult(0);
        }));
        return command;
    }

    private static Command CreatePack()
    {
        var from = new Option<string>("--from") { Description = "The directory that 'dotnet publish edge/EdgeCore.Host -r RUNTIME --self-contained' wrote.", HelpName = "DIR", Required = true };
        var version = new Option<string>("--version") { Description = "What the edgecore in it says to --version.", Required = true };
        var architecture = new Option<string>("--arch") { Description = "amd64 or arm64.", DefaultValueFactory = _ => NodePackage.ThisArchitecture };
        architecture.AcceptOnlyFromAmong("amd64", "arm64");
        var key = new Option<string>("--key") { Description = "An ECDSA P-256 private key in PEM.", HelpName = "FILE", Required = true };
        var output = new Option<string>("--output", "-o") { Description = "The package to write; its signature gets .sig at the end.", HelpName = "FILE", Required = true };
        var command = new Command("pack", """
            Packs a published edgecore for 'edgectl upgrade edge' and signs it.

            Examples:
              openssl ecparam -name prime256v1 -genkey -noout -out edge.pem && openssl ec -in edge.pem -pubout -out edge.pub
              edgectl upgrade pack --from out/edgecore --version 0.2.0 --key edge.pem -o edgecore-amd64.tar.gz
            """)
        {
            from, version, architecture, key, output,
        };
        command.SetAction((parse, cancellationToken) => RunAsync("upgrade pack", async () =>
        {
            var file = Path.GetFullPath(parse.GetValue(output)!);
            NodePackage.Write(Path.GetFullPath(parse.GetValue(from)!), parse.GetValue(version)!, parse.GetValue(architecture)!, await File.ReadAllTextAsync(parse.GetValue(key)!, cancellationToken), file);
            Console.Out.WriteLine($"{file}: edgecore {parse.GetValue(version)} for {parse.GetValue(architecture)}, sha256:{NodePackage.Hash(file)}; signature {NodePackage.SignaturePath(file)}");
            return 0;
        }));
        return command;
    }

    private static int Tell(string command, UpgradeState end, string done)
    {
        switch (end.Step)
        {
            case UpgradeStep.Succeeded:
                Console.Out.WriteLine(done);
                return 0;
            case UpgradeStep.Refused:
                Console.Error.WriteLine($"edgectl {command}: nothing was changed: {end.Problem}");
                return 1;
            case UpgradeStep.RolledBack:
                Console.Error.WriteLine($"edgectl {command}: the former version runs again: {end.Problem}");
                return 2;
            default:
                Console.Error.WriteLine($"edgectl {command}: {(end.Problem.Length > 0 ? $"{end.Problem}; and then " : "")}not all could be put back: {end.RollBackProblem}; look at the service's log, then run 'edgectl rollback edge'");
                return 3;
        }
    }

    private static async Task<string> ReadKeyAsync(string? file, NodePlaces node, CancellationToken cancellationToken)
        => await File.ReadAllTextAsync(
            file ?? (node.ReadConfig().Text("modules", "taskManager", "upgrade", "publicKey") is { Length: > 0 } named ? named
                : throw new UpgradeException($"who may sign is not known: give --public-key FILE, or set modules.taskManager.upgrade.publicKey in {node.Config}")),
            cancellationToken);

    private static async Task<int> RunAsync(string command, Func<Task<int>> work)
    {
        try
        {
            return await work();
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine($"edgectl {command}: stopped; nothing was changed");
        }
        catch (Exception e) when (e is UpgradeException or JoinException or IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"edgectl {command}: {e.Message.ReplaceLineEndings(" ")}");
        }

        return 1;
    }

    /// <summary>Where edgecore is on this machine, the same for all of these commands.</summary>
    private sealed class PlaceOptions
    {
        private readonly Option<string> _config = new("--config") { Description = "edgecore's config file.", DefaultValueFactory = _ => NodePlaces.ConfigDefault, HelpName = "FILE" };
        private readonly Option<string> _data = NodeAccess.CreateOption();
        private readonly Option<string?> _program = new("--program") { Description = "The edgecore that this node runs; without it the one beside edgectl or on PATH.", HelpName = "FILE" };
        private readonly Option<string> _backups = new("--backup-dir") { Description = "Where the backups are; without it modules.taskManager.upgrade.backupDirectory of the config, then the default.", DefaultValueFactory = _ => NodePlaces.BackupsDefault, HelpName = "DIR" };
        private readonly Option<string?> _stop = new("--stop-with") { Description = "A program without arguments that stops edgecore, in place of systemd; it ends with 0 also where none runs.", HelpName = "PROGRAM" };
        private readonly Option<string?> _start = new("--start-with") { Description = "A program without arguments that starts edgecore in the background, in place of systemd.", HelpName = "PROGRAM" };
        private readonly Option<int> _within = new("--ready-within") { Description = "Seconds that edgecore may take until it is ready.", DefaultValueFactory = _ => 120 };
        private readonly Option<int> _settle = new("--settle") { Description = "Seconds for which it must stay ready.", DefaultValueFactory = _ => 5 };

        public void AddTo(Command command, bool control)
        {
            foreach (var option in (Option[])[_config, _data, _program, _backups])
                command.Add(option);
            if (!control)
                return;
            foreach (var option in (Option[])[_stop, _start, _within, _settle])
                command.Add(option);
        }

        // What the config has edgecore's own upgrades use counts before the default; a config that cannot be read says nothing.
        public string ReadBackups(ParseResult parse)
            => Path.GetFullPath(parse.GetResult(_backups) is { Implicit: false } ? parse.GetValue(_backups)! : NodePlaces.BackupsOf(Path.GetFullPath(parse.GetValue(_config)!)));

        private static string Find(string backups)
        {
            try
            {
                return Programs.Find(NodePackage.Program);
            }
            catch (JoinException) when (NodeUpgrade.LastProgram(backups) is { } last)
            {
                return last;
            }
        }

        /// <exception cref="UpgradeException">edgecore is not in a directory of its own.</exception>
        /// <exception cref="JoinException">edgecore is nowhere.</exception>
        public NodePlaces Read(ParseResult parse) => Read(parse, parse.GetValue(_program) ?? Find(ReadBackups(parse)));

        /// <summary>As <see cref="Read(ParseResult)"/>; the program is that of the upgrade that was cut short, which may have taken it from its place.</summary>
        public NodePlaces ReadAfterCut(ParseResult parse) => Read(parse, parse.GetValue(_program) ?? NodeUpgrade.LastProgram(ReadBackups(parse)) ?? Find(ReadBackups(parse)));

        private NodePlaces Read(ParseResult parse, string program)
        {
            var config = Path.GetFullPath(parse.GetValue(_config)!);
            // What join noted is better than the default, and what was asked for better than both.
            var data = parse.GetResult(_data) is { Implicit: false } ? null : NodeRecord.Read(config)?.DataDirectory;
            return new NodePlaces(
                ProgramDirectory.Of(program), config, Path.GetFullPath(data ?? parse.GetValue(_data)!), ReadBackups(parse),
                parse.GetResult(_stop) is null ? null : parse.GetValue(_stop), parse.GetResult(_start) is null ? null : parse.GetValue(_start))
            {
                ReadyWithin = TimeSpan.FromSeconds(Math.Max(1, parse.GetValue(_within))), Settle = TimeSpan.FromSeconds(Math.Max(0, parse.GetValue(_settle))),
            };
        }
    }
}
