using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;

namespace Edge.Core.DeviceTwin;

/// <summary>Devices, models, mappers and twins of one node as a pure state machine: inputs in, outputs out; single-threaded.</summary>
internal sealed class TwinCore
{
    /// <summary>An unchanged value or state goes to the cloud at most this often, so that its age stays honest at little cost.</summary>
    public const long RefreshMs = 10_000;

    /// <summary>Most mappers remembered; a further one is refused.</summary>
    public const int MappersMax = 256;

    /// <summary>Longest reported value, characters.</summary>
    public const int ValueLengthMax = 64 * 1024;

    private readonly Dictionary<(string Namespace, string Name), DeviceEntry> _devices = [];
    private readonly Dictionary<(string Namespace, string Name), JsonObject> _models = [];
    private readonly Dictionary<string, MapperInfo> _mappers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, DeviceRow> _rows = new(StringComparer.Ordinal);

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
            case TwinInput.RegisterMapper(var mapper, var withData): OnMapper(mapper, withData, outputs); break;
            case TwinInput.ReportStatus(var request, var now): OnStatus(request, now, outputs); break;
            case TwinInput.ReportState(var request, var now): OnState(request, now, outputs); break;
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
                Refresh(device, outputs);
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
            Withdraw(device, outputs);
            outputs.Add(new TwinOutput.Forget(device.RowKey));
            return;
        }

        if (device is null)
        {
            var rowKey = TwinRows.DeviceKey(change.Namespace, change.Name);
            _rows.Remove(rowKey, out var row);
            device = _devices[key] = new DeviceEntry(change.Namespace, change.Name, row ?? new DeviceRow());
        }

        device.Object = change.Object;
        Refresh(device, outputs);
    }

    // Builds the device's message anew and tells the mappers of its protocol, the model first.
    private void Refresh(DeviceEntry device, List<TwinOutput> outputs)
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
        foreach (var mapper in MappersOf(device.Protocol))
            foreach (var call in Calls(device))
                outputs.Add(new TwinOutput.Deliver(mapper, call));
    }

    private void Withdraw(DeviceEntry device, List<TwinOutput> outputs)
    {
        if (device.Message is null)
            return;
        var modelUsed = _devices.Values.Any(one => one != device && one.ModelKey == device.ModelKey && one.Protocol == device.Protocol);
        foreach (var mapper in MappersOf(device.Protocol))
        {
            outputs.Add(new TwinOutput.Deliver(mapper, new MapperCall(false, device.Namespace, device.Name, null)));
            if (!modelUsed)
                outputs.Add(new TwinOutput.Deliver(mapper, new MapperCall(true, device.ModelKey.Namespace, device.ModelKey.Name, null)));
        }
    }

    private void OnMapper(MapperInfo? mapper, bool withData, List<TwinOutput> outputs)
    {
        if (mapper is null || mapper.Name.Length == 0 || mapper.Protocol.Length == 0)
        {
            outputs.Add(new TwinOutput.Refuse(GrpcStatusCode.InvalidArgument, "MapperRegister needs mapper.name and mapper.protocol"));
            return;
        }

        if (!_mappers.TryGetValue(mapper.Name, out var known) && _mappers.Count >= MappersMax)
        {
            outputs.Add(new TwinOutput.Refuse(GrpcStatusCode.ResourceExhausted, $"{MappersMax} mappers are registered already"));
            return;
        }

        _mappers[mapper.Name] = mapper;
        if (!mapper.Equals(known))
            outputs.Add(new TwinOutput.Persist(TwinRows.MapperPrefix + mapper.Name, TwinRows.WriteMapper(mapper)));
        var devices = _devices.Values.Where(one => one.Message is not null && Same(one.Protocol, mapper.Protocol)).ToList();
        var calls = devices.SelectMany(Calls).DistinctBy(call => call.Key).ToList();
        var answer = new MapperRegisterResponse();
        if (withData)
        {
            answer.ModelList.AddRange(calls.Where(call => call.IsModel).Select(call => (DeviceModel)call.Message!));
            answer.DeviceList.AddRange(calls.Where(call => !call.IsModel).Select(call => (Device)call.Message!));
        }

        outputs.Add(new TwinOutput.MapperChanged(mapper, withData ? calls : []));
        if (!withData)
            foreach (var call in calls)
                outputs.Add(new TwinOutput.Deliver(mapper.Name, call));
        outputs.Add(new TwinOutput.Answer(answer));
    }

    private void OnStatus(ReportDeviceStatusRequest request, long now, List<TwinOutput> outputs)
    {
        if (!TryFind(request.DeviceNamespace, request.DeviceName, outputs, out var device))
            return;
        var changed = false;
        foreach (var twin in request.ReportedDevice?.Twins ?? [])
        {
            var known = device.Row.Properties.GetValueOrDefault(twin.PropertyName) ?? new PropertyTwin();
            if (Take(device, twin, known, now, outputs) is { } next)
            {
                changed |= next.Differs(known);
                device.Row.Properties[twin.PropertyName] = next;
            }
        }

        if (changed)
            outputs.Add(new TwinOutput.Persist(device.RowKey, TwinRows.WriteDevice(device.Row)));
        if (device.Row.Properties.Count > 0 && (changed || now - device.TwinSentMs >= RefreshMs))
        {
            device.TwinSentMs = now;
            outputs.Add(new TwinOutput.SendTwin(device.Namespace, device.Name, new Dictionary<string, PropertyTwin>(device.Row.Properties)));
        }

        outputs.Add(new TwinOutput.Answer(new ReportDeviceStatusResponse()));
    }

    // The property after this report, or null when nothing of it can be taken.
    private static PropertyTwin? Take(DeviceEntry device, Twin twin, PropertyTwin known, long now, List<TwinOutput> outputs)
    {
        var property = device.Message?.Spec.Properties.FirstOrDefault(one => one.Name == twin.PropertyName);
        var model = device.Model?.Spec.Properties.FirstOrDefault(one => one.Name == twin.PropertyName);
        if (property is null && model is null)
        {
            outputs.Add(new TwinOutput.Dropped(device.Id, twin.PropertyName, "neither the device nor its model has this property"));
            return null;
        }

        var next = known;
        if (twin.Reported is { } reported)
        {
            var error = reported.Metadata.GetValueOrDefault("error", "");
            var unread = error.Length > 0 && reported.Value.Length == 0;
            var reason = unread ? null : Refusal(reported.Value, model);
            if (reason is not null)
                outputs.Add(new TwinOutput.Dropped(device.Id, twin.PropertyName, reason));
            else
            {
                next = next with
                {
                    Value = unread ? known.Value : reported.Value,
                    Error = error,
                    TimestampMs = Timestamp(reported, now),
                    Type = reported.Metadata.TryGetValue("type", out var type) && type.Length > 0 ? type : model?.Type.ToLowerInvariant() ?? "",
                };
                if (next.Value != known.Value)
                    next = next with { EdgeVersion = known.EdgeVersion + 1 };
            }
        }

        // An empty message stands for "absent" with some mappers.
        if (twin.ObservedDesired is { } observed && (observed.Value.Length > 0 || observed.Metadata.Count > 0))
            next = next with { Expected = observed.Value, ExpectedTimestampMs = Timestamp(observed, now) };
        return ReferenceEquals(next, known) ? null : next;
    }

    private static string? Refusal(string value, ModelProperty? model)
    {
        if (value.Length > ValueLengthMax)
            return $"value of {value.Length} characters is over the limit of {ValueLengthMax}";
        if (model is null || model.Type.ToUpperInvariant() is not ("INT" or "FLOAT" or "DOUBLE") || (model.Minimum.Length == 0 && model.Maximum.Length == 0))
            return null;
        if (!double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var number))
            return $"'{value}' is not a number, the model's type is {model.Type}";
        if (TryNumber(model.Minimum, out var minimum) && !(number >= minimum))
            return $"{value} is below the model's minimum {model.Minimum}";
        if (TryNumber(model.Maximum, out var maximum) && !(number <= maximum))
            return $"{value} is above the model's maximum {model.Maximum}";
        return null;
    }

    private void OnState(ReportDeviceStatesRequest request, long now, List<TwinOutput> outputs)
    {
        if (!TryFind(request.DeviceNamespace, request.DeviceName, outputs, out var device))
            return;
        var state = request.State.ToLowerInvariant();
        if (state is not ("online" or "offline" or "ok" or "unknown" or "unhealthy"))
        {
            outputs.Add(new TwinOutput.Refuse(
                GrpcStatusCode.InvalidArgument, $"state '{request.State}' of device {device.Id} must be online, offline, ok, unknown or unhealthy"));
            return;
        }

        var changed = state != device.Row.State;
        device.Row.State = state;
        if (state is "online" or "ok")
            device.Row.LastOnlineMs = now;
        if (changed)
            outputs.Add(new TwinOutput.Persist(device.RowKey, TwinRows.WriteDevice(device.Row)));
        if (changed || now - device.StateSentMs >= RefreshMs)
        {
            device.StateSentMs = now;
            outputs.Add(new TwinOutput.SendState(device.Namespace, device.Name, state, device.Row.LastOnlineMs));
        }

        outputs.Add(new TwinOutput.Answer(new ReportDeviceStatesResponse()));
    }

    private bool TryFind(string @namespace, string name, List<TwinOutput> outputs, out DeviceEntry device)
    {
        var key = (@namespace.Length == 0 ? "default" : @namespace, name);
        if (_devices.TryGetValue(key, out device!))
            return true;
        outputs.Add(new TwinOutput.Refuse(GrpcStatusCode.NotFound, $"there is no device {key.Item1}/{name} on this node"));
        return false;
    }

    private static IEnumerable<MapperCall> Calls(DeviceEntry device)
        => [new MapperCall(true, device.ModelKey.Namespace, device.ModelKey.Name, device.Model), new MapperCall(false, device.Namespace, device.Name, device.Message)];

    private IEnumerable<string> MappersOf(string protocol) => _mappers.Where(pair => Same(pair.Value.Protocol, protocol)).Select(pair => pair.Key);

    private static bool Same(string a, string b) => a.Equals(b, StringComparison.OrdinalIgnoreCase);

    private static bool TryNumber(string text, out double number) => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number);

    private static long Timestamp(TwinProperty property, long now)
        => property.Metadata.TryGetValue("timestamp", out var text) && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var stamp) ? stamp : now;

    private sealed class DeviceEntry(string @namespace, string name, DeviceRow row)
    {
        public string Namespace { get; } = @namespace;

        public string Name { get; } = name;

        public string Id => $"{Namespace}/{Name}";

        public string RowKey => TwinRows.DeviceKey(Namespace, Name);

        public JsonObject Object { get; set; } = [];

        public (string Namespace, string Name) ModelKey
            => (Namespace, DmiConvert.Text(DmiConvert.Get(DmiConvert.Get(Object, "spec"), "deviceModelRef"), "name"));

        public Device? Message { get; set; }

        public DeviceModel? Model { get; set; }

        public string Protocol => Message?.Spec.Protocol.ProtocolName ?? "";

        public DeviceRow Row { get; } = row;

        // Far enough back that the first report after a start always goes up.
        public long TwinSentMs { get; set; } = long.MinValue / 2;

        public long StateSentMs { get; set; } = long.MinValue / 2;
    }
}
