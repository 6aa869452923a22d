using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.DeviceTwin;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;

namespace Edge.Simulation.Tests.Twin;

/// <summary>All round the node: the cloud with Devices and what it has heard, a mapper that reads and is told, an application that desires.</summary>
internal sealed class TwinSite(TwinWorld world)
{
    public const int DeviceCount = 2;

    private readonly Dictionary<string, long> _applied = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Device, string Property), PropertyTwin> _cloud = [];
    private readonly HashSet<(string Device, long Value)> _history = [];
    private readonly HashSet<(string Device, long Value)> _answered = [];
    private readonly Dictionary<string, string?> _told = new(StringComparer.Ordinal);
    private readonly List<(string Device, long Value, long AtMs)> _unanswered = [];
    private readonly List<(string Device, string Value, long AtMs, string Event)> _desires = [];
    private readonly Dictionary<string, (string Value, long AtMs)> _cloudDesires = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (string Value, long AtMs)> _accepted = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long> _last = new(StringComparer.Ordinal);
    private long _value;
    private long _version = 1;
    private bool _isRegistered;

    public TwinNode? Node { get; set; }

    public TwinDisk Disk { get; } = new();

    public static JsonObject Model() => (JsonObject)JsonNode.Parse("""
        {"metadata":{"name":"model","namespace":"default"},"spec":{"protocol":"modbus","properties":[
          {"name":"t","type":"INT","accessMode":"ReadOnly"},{"name":"s","type":"INT","accessMode":"ReadWrite"}]}}
        """)!;

    /// <summary>Begins what goes on during the whole run.</summary>
    public void Start()
    {
        for (var i = 0; i < DeviceCount; i++)
        {
            Desire($"d{i}");
            Read($"d{i}");
        }

        Register();
        world.Every(300, () => Read(Any()));
        world.Every(1500, () => Desire(Any()));
        world.Every(1500, () => DesireHere(Any()));
        Repeat(200, CallMapperAndApps);
        Repeat(1000, SendDevices);
    }

    /// <summary>The cloud takes an entry; an older one than it has of the key is an echo.</summary>
    public void Apply(TwinEntry entry)
    {
        if (_applied.TryGetValue(entry.Key, out var newest) && entry.Version <= newest)
            return;
        _applied[entry.Key] = entry.Version;
        foreach (var output in entry.Content)
        {
            if (output is TwinOutput.SendSample sample)
                _history.Add((sample.Name, Number(sample.Value)));
            if (output is not TwinOutput.SendTwin twin)
                continue;
            foreach (var (name, property) in twin.Properties)
            {
                if (_cloud.TryGetValue((twin.Name, name), out var before))
                    CheckOrder($"{twin.Name}.{name} at the cloud", before, property);
                _cloud[(twin.Name, name)] = property;
            }
        }

        world.Note($"the cloud has {entry.Key}, version {entry.Version}");
    }

    /// <summary>The mapper is told the state of a device; its link tells it the newest, again and again until it has it.</summary>
    public void Told(TwinNode by, MapperCall call)
    {
        if (call is { IsModel: false, Message: Device device })
            Tell(by, call.Name, device);
    }

    /// <summary>What is published to applications; a result ends the wait for it, unless it is lost.</summary>
    public void Heard(TwinOutput.Publish published)
    {
        if (!published.Topic.EndsWith("/twin/update/result", StringComparison.Ordinal))
            return;
        var result = (JsonObject)JsonNode.Parse(published.Payload)!;
        world.Send(() =>
        {
            var at = _desires.FindIndex(one => one.Event == result["event_id"]!.GetValue<string>());
            if (at < 0)
                return;
            var desire = _desires[at];
            _desires.RemoveAt(at);
            var code = result["code"]?.GetValue<int>() ?? 200;
            world.Note($"{desire.Device}: '{desire.Value}' is {(code == 200 ? "taken" : $"refused with {code}")}");
            if (code == 200 && (!_accepted.TryGetValue(desire.Device, out var best) || best.AtMs < desire.AtMs))
                _accepted[desire.Device] = (desire.Value, desire.AtMs);
        });
    }

    /// <summary>Holds after every step.</summary>
    public void Check()
    {
        foreach (var sample in _answered)
        {
            if (!_history.Contains(sample) && !Disk.Queue.Values.SelectMany(entry => entry.Content).OfType<TwinOutput.SendSample>().Any(one => (one.Name, Number(one.Value)) == sample))
                throw new TwinInvariantException(TwinSimulation.AnsweredSamplesStay, $"sample {sample.Value} of {sample.Device} was answered; neither the node's disk nor the cloud has it");
        }

        // Once the cloud has it, it has it.
        _answered.RemoveWhere(_history.Contains);
    }

    /// <summary>What is not as it must be at the end; null when all is.</summary>
    public string? Difference()
    {
        if (_unanswered.Count > 0 || _desires.Count > 0 || Node is not { IsIdle: true })
            return $"{_unanswered.Count} samples and {_desires.Count} desired values are not answered, {Disk.Queue.Count} entries wait";
        foreach (var (device, value) in _last)
        {
            if (_cloud.GetValueOrDefault((device, "t"))?.Value != Text(value))
                return $"the cloud has '{_cloud.GetValueOrDefault((device, "t"))?.Value}' of {device}, the mapper read {value} last";
            // Of two of the same millisecond the one that came later stands, whichever that was.
            var isOfHere = _accepted.TryGetValue(device, out var here) && here.AtMs >= _cloudDesires[device].AtMs;
            var winner = isOfHere ? here : _cloudDesires[device];
            var isTie = isOfHere && here.AtMs == _cloudDesires[device].AtMs && _told.GetValueOrDefault(device) == _cloudDesires[device].Value;
            if (_told.GetValueOrDefault(device) != winner.Value && !isTie)
                return $"the mapper of {device} was told '{_told.GetValueOrDefault(device)}', the latest desired is '{winner.Value}' of {winner.AtMs}";
        }

        for (var value = 1; value <= _value; value++)
        {
            if (!Enumerable.Range(0, DeviceCount).Any(i => _history.Contains(($"d{i}", value))))
                return $"sample {value} is not at the cloud";
        }

        return null;
    }

    private static void CheckOrder(string where, PropertyTwin before, PropertyTwin after)
    {
        if (after.EdgeVersion < before.EdgeVersion || after.DesiredEdgeVersion < before.DesiredEdgeVersion || after.DesiredCloudVersion < before.DesiredCloudVersion)
            throw new TwinInvariantException(
                TwinSimulation.VersionsNeverGoBack,
                $"{where}: reported {before.EdgeVersion} -> {after.EdgeVersion}, desired here {before.DesiredEdgeVersion} -> {after.DesiredEdgeVersion}, by the cloud {before.DesiredCloudVersion} -> {after.DesiredCloudVersion}");
    }

    private void Tell(TwinNode by, string name, Device device)
    {
        // Delays keep the order: the link has one call at a time.
        var value = device.Spec.Properties.First(one => one.Name == "s").Desired?.Value;
        if (by.IsDead)
            return;
        _told[name] = value;
        world.Note($"the mapper is told '{value}' for {name}");
    }

    private void Register()
    {
        if (_isRegistered)
            return;
        if (Node is { } node)
            world.Send(() => node.Take(new TwinInput.RegisterMapper(new MapperInfo { Name = "m", Protocol = "modbus" }, false), _ => _isRegistered = true));
        world.After(1000, Register);
    }

    private void Read(string device)
    {
        _unanswered.Add((device, ++_value, world.NowMs));
        _last[device] = _value;
    }

    private void Desire(string device) => _cloudDesires[device] = ($"{++_version}", world.NowMs);

    private void DesireHere(string device)
    {
        if (Disk.Devices.ContainsKey(device) && !_desires.Any(one => one.Device == device))
            _desires.Add((device, $"{1_000_000 + world.Random.Next(1000)}", world.NowMs - world.Random.Next(500), $"e{world.NowMs}-{_desires.Count}"));
    }

    // Each is tried until it is answered; some at once, so that they may overtake each other.
    private void CallMapperAndApps()
    {
        if (Node is not { } node || !_isRegistered)
            return;
        foreach (var sample in _unanswered.Where(one => Disk.Devices.ContainsKey(one.Device)).Take(4).ToArray())
        {
            var request = new ReportDeviceStatusRequest { DeviceName = sample.Device, DeviceNamespace = "default", ReportedDevice = new DeviceStatus() };
            var twin = new Protocol.Dmi.V1Beta1.Twin { PropertyName = "t", Reported = new TwinProperty { Value = Text(sample.Value) } };
            twin.Reported.Metadata["timestamp"] = Text(sample.AtMs);
            request.ReportedDevice.Twins.Add(twin);
            world.Send(() => node.Take(new TwinInput.ReportStatus(request, world.NowMs), answer =>
            {
                if (answer is TwinOutput.Answer)
                    world.Send(() => Answered(sample));
                if (answer is TwinOutput.Answer && !_history.Contains((sample.Device, sample.Value)))
                    _answered.Add((sample.Device, sample.Value));
            }));
        }

        foreach (var (device, value, at, id) in _desires)
        {
            var payload = Encoding.UTF8.GetBytes($$$"""{"event_id":"{{{id}}}","twin":{"s":{"expected":{"value":"{{{value}}}","metadata":{"timestamp":{{{at}}} } } } } }""");
            world.Send(() => node.Take(new TwinInput.AppMessage($"$hw/events/device/default/{device}/twin/update", payload, world.NowMs), _ => { }));
        }
    }

    private void Answered((string Device, long Value, long AtMs) sample)
    {
        if (_unanswered.Remove(sample))
            world.Note($"sample {sample.Value} of {sample.Device} is answered");
    }

    // The newest state of each Device until the node has it.
    private void SendDevices()
    {
        foreach (var (name, (value, at)) in _cloudDesires)
        {
            var version = Number(value);
            if (Node is not { } node || (Disk.Devices.TryGetValue(name, out var known) && known.Version == version))
                continue;
            var desired = new JsonObject { ["value"] = value };
            if (world.Bug != TwinBug.TimestampsIgnored)
                desired["metadata"] = new JsonObject { ["timestamp"] = Text(at) };
            var device = new JsonObject
            {
                ["metadata"] = new JsonObject
                {
                    ["name"] = name, ["namespace"] = "default", ["uid"] = $"u-{name}", ["resourceVersion"] = value, ["annotations"] = new JsonObject { [DmiConvert.HistoryAnnotation] = "t" },
                },
                ["spec"] = new JsonObject
                {
                    ["deviceModelRef"] = new JsonObject { ["name"] = "model" },
                    ["protocol"] = new JsonObject { ["protocolName"] = "modbus" },
                    ["properties"] = new JsonArray(new JsonObject { ["name"] = "t" }, new JsonObject { ["name"] = "s", ["desired"] = desired }),
                },
            };
            world.Send(() => node.TakeDevice(name, device, version));
        }
    }

    private void Repeat(int ms, Action action) => world.After(ms, () =>
    {
        action();
        Repeat(ms, action);
    });

    private string Any() => $"d{world.Random.Next(DeviceCount)}";

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
