using System.Diagnostics;
using System.Text.Json.Nodes;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;

namespace Edge.Core.DeviceTwin;

/// <summary>Devices, models, mappers and twins of one node as a pure state machine: inputs in, outputs out; single-threaded.</summary>
internal sealed partial class TwinCore(long windowMs = TwinCore.WindowMs)
{
    /// <summary>An unchanged value or state goes to the cloud at most this often, so that its age stays honest at little cost.</summary>
    public const long RefreshMs = 10_000;

    /// <summary>By default what is reported of one device within this time after a message goes with the next message.</summary>
    public const long WindowMs = 1000;

    /// <summary>Most problems of properties and their values kept of one device; what is wrong with its mapper comes on top.</summary>
    public const int ProblemsMax = 16;

    private readonly Dictionary<(string Namespace, string Name), DeviceEntry> _devices = [];
    private readonly Dictionary<(string Namespace, string Name), JsonObject> _models = [];
    private readonly Dictionary<string, MapperInfo> _mappers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, DeviceRow> _rows = new(StringComparer.Ordinal);
    private readonly HashSet<DeviceEntry> _due = [];

    // Those of _due by when they were sent last; entries of devices that were sent or removed meanwhile stay until they come first.
    private readonly PriorityQueue<DeviceEntry, long> _dueOrder = new();
    private long _tickedMs = long.MinValue;

    /// <summary>Takes the local rows of an earlier run; call once, before the first <see cref="Step"/>. Returns keys of rows that cannot be read.</summary>
    public List<string> Restore(IReadOnlyDictionary<string, ReadOnlyMemory<byte>> rows, List<TwinOutput> outputs)
    {
        var unreadable = new List<string>();
        foreach (var (key, row) in rows)
        {
            if (key.StartsWith(TwinRows.DevicePrefix, StringComparison.Ordinal) && TwinRows.TryReadDevice(row, out var device))
                _rows[key] = device;
            else if (key.StartsWith(TwinRows.MapperPrefix, StringComparison.Ordinal) && TwinRows.TryReadMapper(row, out var mapper))
            {
                _mappers[mapper.Name] = mapper;
                outputs.Add(new TwinOutput.MapperChanged(mapper, []));
            }
            else
                unreadable.Add(key);
        }

        return unreadable;
    }

    /// <summary>After the stored objects went through <see cref="Step"/>: forgets twins of devices that are gone.</summary>
    public void ForgetOrphans(List<TwinOutput> outputs)
    {
        foreach (var key in _rows.Keys)
            outputs.Add(new TwinOutput.Forget(key));
        _rows.Clear();
    }

    /// <summary>Applies one input and appends what must be done, in order, to <paramref name="outputs"/>.</summary>
    public void Step(TwinInput input, List<TwinOutput> outputs)
    {
        switch (input)
        {
            case TwinInput.ObjectChanged { Type: "devicemodel" } model: OnModel(model, outputs); break;
            case TwinInput.ObjectChanged { Type: "device" } device: OnDevice(device, outputs); break;
            case TwinInput.RegisterMapper(var mapper, var withData, var now): OnMapper(mapper, withData, now, outputs); break;
            case TwinInput.CallEnded(var mapper, var call, var reason, var now): OnCallEnded(mapper, call, reason, now, outputs); break;
            case TwinInput.ReportStatus(var request, var now): OnStatus(request, now, outputs); break;
            case TwinInput.ReportState(var request, var now): OnState(request, now, outputs); break;
            case TwinInput.MapperSeen(var name, var isAlive, var now): OnMapperSeen(name, isAlive, now, outputs); break;
            case TwinInput.Tick(var now): OnTick(now, outputs); break;
            case TwinInput.AppMessage(var topic, var payload, var now): OnApp(topic, payload, now, outputs); break;
            default: throw new UnreachableException($"Unknown twin input {input}.");
        }
    }

    private void OnModel(TwinInput.ObjectChanged change, List<TwinOutput> outputs)
    {
        var key = (change.Namespace, change.Name);
        if (change.Object is null)
            _models.Remove(key);
        else
            _models[key] = change.Object;
        foreach (var device in _devices.Values.Where(one => one.ModelKey == key))
        {
            if (change.Object is not null)
                Refresh(device, change.NowMs, outputs);
        }

        if (change.Object is null)
        {
            foreach (var mapper in _mappers.Keys)
                outputs.Add(new TwinOutput.Deliver(mapper, new MapperCall(true, change.Namespace, change.Name, null)));
        }
    }

    private void OnDevice(TwinInput.ObjectChanged change, List<TwinOutput> outputs)
    {
        var key = (change.Namespace, change.Name);
        _devices.TryGetValue(key, out var device);
        if (change.Object is null)
        {
            if (device is null)
                return;
            _devices.Remove(key);
            _due.Remove(device);
            Withdraw(device, outputs);
            outputs.Add(new TwinOutput.Forget(device.RowKey));
            AnnounceMembership([], [device], change.NowMs, outputs);
            return;
        }

        if (device is null)
        {
            var rowKey = TwinRows.DeviceKey(change.Namespace, change.Name);
            _rows.Remove(rowKey, out var row);
            device = _devices[key] = new DeviceEntry(change.Namespace, change.Name, row ?? new DeviceRow()) { Object = change.Object };
            AnnounceMembership([device], [], change.NowMs, outputs);

            // What was reported before the end of the last run may have waited for its window.
            if (device.Row.Properties.Values.Any(property => property.Value is not null || property.Error.Length > 0))
            {
                device.IsTwinDue = true;
                Wait(device);
            }
        }

        var labels = device.Labels;
        device.Object = change.Object;
        if (PublishesToApps && !labels.SequenceEqual(device.Labels))
            outputs.Add(new TwinOutput.Publish(TwinTopics.Device(device.Namespace, device.Name, "updated"), TwinTopics.Attributes(change.NowMs, device)));

        // Deleted and made again under its name while nobody looked: what the old one said is not the new one's.
        if (device.Row.Uid != device.Uid)
        {
            if (device.Row.Uid.Length > 0)
            {
                device.Row = new DeviceRow();
                _due.Remove(device);
            }

            device.Row.Uid = device.Uid;
        }

        Refresh(device, change.NowMs, outputs);
    }

    // Builds the device's message anew and tells the mappers of its protocol, the model first.
    private void Refresh(DeviceEntry device, long now, List<TwinOutput> outputs)
    {
        if (!_models.TryGetValue(device.ModelKey, out var model))
        {
            outputs.Add(new TwinOutput.WaitsForModel(device.Id, device.ModelKey.Name));
            return;
        }

        var message = DmiConvert.ToDevice(device.Object, model);
        if (device.Message is not null && device.Protocol != message.Spec.Protocol.ProtocolName)
            Withdraw(device, outputs);
        device.Message = message;
        device.Model = DmiConvert.ToModel(model);
        TakeDesired(device, now, outputs);
        foreach (var mapper in MappersOf(device.Protocol))
            foreach (var call in Calls(device))
                outputs.Add(new TwinOutput.Deliver(mapper, call));
        LookAtMappers(device, now, outputs);
    }

    private void Withdraw(DeviceEntry device, List<TwinOutput> outputs)
    {
        if (device.Message is null)
            return;
        foreach (var key in device.Problems.Keys.Where(key => key.StartsWith(CallProblem, StringComparison.Ordinal)).ToList())
            device.IsChanged |= device.Problems.Remove(key);
        var modelUsed = _devices.Values.Any(one => one != device && one.ModelKey == device.ModelKey && one.Protocol == device.Protocol);
        foreach (var mapper in MappersOf(device.Protocol))
        {
            outputs.Add(new TwinOutput.Deliver(mapper, new MapperCall(false, device.Namespace, device.Name, null)));
            if (!modelUsed)
                outputs.Add(new TwinOutput.Deliver(mapper, new MapperCall(true, device.ModelKey.Namespace, device.ModelKey.Name, null)));
        }
    }

    private bool TryFind(string @namespace, string name, List<TwinOutput> outputs, out DeviceEntry device)
    {
        var key = (@namespace.Length == 0 ? "default" : @namespace, name);
        if (_devices.TryGetValue(key, out device!))
            return true;
        outputs.Add(new TwinOutput.Refuse(GrpcStatusCode.NotFound, $"there is no device {key.Item1}/{name} on this node"));
        return false;
    }

    private static bool Same(string a, string b) => a.Equals(b, StringComparison.OrdinalIgnoreCase);
}
