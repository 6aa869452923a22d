using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;

namespace Edge.Core.DeviceTwin;

/// <content>Mappers: who is registered, who answers, and what they would not take.</content>
internal sealed partial class TwinCore
{
    /// <summary>Most mappers remembered; a further one takes the place of the one that is dead for longest, and is refused where none is.</summary>
    public const int MappersMax = 256;

    /// <summary>A mapper that is dead for so long is forgotten when another one registers, where its protocol is served by others. Mappers may be named after their pods.</summary>
    public const long MapperForgetMs = 3_600_000;

    /// <summary>A device of a protocol that no mapper has registered for is without one after so long.</summary>
    public const long MapperGraceMs = 60_000;

    private const string MapperProblem = "mapper";
    private const string CallProblem = "call/";

    // Since when they do not answer.
    private readonly Dictionary<string, long> _deadMappers = new(StringComparer.Ordinal);

    // Devices that wait for their first mapper, in the order in which their time is over. Those that are served or gone meanwhile stay until they come first.
    private readonly Queue<(DeviceEntry Device, long GraceEndMs)> _withoutMapper = new();

    private void OnMapper(MapperInfo? mapper, bool withData, long now, List<TwinOutput> outputs)
    {
        if (mapper is null || mapper.Name.Length == 0 || mapper.Protocol.Length == 0)
        {
            outputs.Add(new TwinOutput.Refuse(GrpcStatusCode.InvalidArgument, "MapperRegister needs mapper.name and mapper.protocol"));
            return;
        }

        ForgetDead(mapper, now, outputs);
        if (!_mappers.TryGetValue(mapper.Name, out var known) && _mappers.Count >= MappersMax)
        {
            outputs.Add(new TwinOutput.Refuse(GrpcStatusCode.ResourceExhausted, $"{MappersMax} mappers are registered already, and all of them answer"));
            return;
        }

        _mappers[mapper.Name] = mapper;
        _deadMappers.Remove(mapper.Name);
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
        ForgetCalls(mapper.Name);
        if (known is not null && !Same(known.Protocol, mapper.Protocol))
            LookAtMappers(known.Protocol, now, outputs);
        LookAtMappers(mapper.Protocol, now, outputs);
        outputs.Add(new TwinOutput.Answer(answer));
    }

    private void OnMapperSeen(string name, bool isAlive, long now, List<TwinOutput> outputs)
    {
        if (_mappers.TryGetValue(name, out var mapper) && (isAlive ? _deadMappers.Remove(name) : _deadMappers.TryAdd(name, now)))
            LookAtMappers(mapper.Protocol, now, outputs);
    }

    // What a mapper refuses it would refuse again: whoever looks at the device must know.
    private void OnCallEnded(string name, MapperCall call, string reason, long now, List<TwinOutput> outputs)
    {
        if (!_mappers.TryGetValue(name, out var mapper))
            return;
        foreach (var device in _devices.Values)
        {
            var isMeant = call.IsModel ? device.ModelKey == (call.Namespace, call.Name) : device.Namespace == call.Namespace && device.Name == call.Name;
            if (!isMeant || device.Message is null || !Same(device.Protocol, mapper.Protocol))
                continue;
            var problem = reason.Length == 0 ? "" : TwinValues.Cut($"mapper '{TwinValues.Cut(name)}' refused the {(call.IsModel ? "model" : "device")}: {reason}", TwinValues.ReasonLengthMax);
            Complain(device, CallKey(call.IsModel, name), problem);
            if (device.IsChanged)
                Settle(device, now, outputs);
        }
    }

    private void ForgetDead(MapperInfo coming, long now, List<TwinOutput> outputs)
    {
        foreach (var (name, since) in _deadMappers.ToList())
        {
            var protocol = _mappers[name].Protocol;
            if (name != coming.Name && now - since >= MapperForgetMs && (Same(protocol, coming.Protocol) || MappersOf(protocol).Any(other => !_deadMappers.ContainsKey(other))))
                ForgetMapper(name, now, outputs);
        }

        if (_mappers.Count >= MappersMax && !_mappers.ContainsKey(coming.Name) && _deadMappers.Count > 0)
            ForgetMapper(_deadMappers.MinBy(pair => pair.Value).Key, now, outputs);
    }

    private void ForgetMapper(string name, long now, List<TwinOutput> outputs)
    {
        _mappers.Remove(name, out var mapper);
        _deadMappers.Remove(name);
        ForgetCalls(name);
        outputs.Add(new TwinOutput.Forget(TwinRows.MapperPrefix + name));
        outputs.Add(new TwinOutput.MapperForgotten(mapper!));
        LookAtMappers(mapper!.Protocol, now, outputs);
    }

    private void ForgetCalls(string mapper)
    {
        foreach (var device in _devices.Values)
            device.IsChanged |= device.Problems.Remove(CallKey(true, mapper)) | device.Problems.Remove(CallKey(false, mapper));
    }

    private void LookAtMappers(string protocol, long now, List<TwinOutput> outputs)
    {
        foreach (var device in _devices.Values.Where(one => one.Message is not null && Same(one.Protocol, protocol)))
            LookAtMappers(device, now, outputs);
    }

    // Where nobody serves it, nobody says how the device is.
    private void LookAtMappers(DeviceEntry device, long now, List<TwinOutput> outputs)
    {
        string? dead = null;
        var isServed = false;
        foreach (var name in MappersOf(device.Protocol))
        {
            if (_deadMappers.ContainsKey(name))
                dead ??= name;
            else
                isServed = true;
        }

        if (isServed)
        {
            device.AwaitsMapper = false;
            if (device.Problems.Remove(MapperProblem))
            {
                device.IsChanged = true;
                if (device.Row.State == "unknown" && device.Row.MapperState.Length > 0)
                    SetState(device, device.Row.MapperState, now, outputs);
            }
        }
        else if (dead is not null)
            Orphan(device, $"mapper '{TwinValues.Cut(dead)}' of protocol {device.Protocol} does not answer", now, outputs);
        else if (device.Problems.ContainsKey(MapperProblem))
            Orphan(device, NoMapper(device), now, outputs);
        else if (!device.AwaitsMapper && !device.IsHeardOf)
        {
            device.AwaitsMapper = true;
            _withoutMapper.Enqueue((device, now + MapperGraceMs));
        }

        if (device.IsChanged)
            Settle(device, now, outputs);
    }

    // Applications may speak for a device, too, and then it needs no mapper.
    private void HeardOf(DeviceEntry device)
    {
        device.IsHeardOf = true;
        device.AwaitsMapper = false;
        if (device.Problems.ContainsKey(MapperProblem) && !MappersOf(device.Protocol).Any())
            device.IsChanged |= device.Problems.Remove(MapperProblem);
    }

    private bool TryFirstWithoutMapper(out long graceEndMs)
    {
        while (_withoutMapper.TryPeek(out var first))
        {
            graceEndMs = first.GraceEndMs;
            if (first.Device.AwaitsMapper && _devices.GetValueOrDefault((first.Device.Namespace, first.Device.Name)) == first.Device)
                return true;
            _withoutMapper.Dequeue();
        }

        graceEndMs = 0;
        return false;
    }

    private void TellOfMissingMappers(long now, List<TwinOutput> outputs)
    {
        // A clock that was set back must not make it longer.
        while (TryFirstWithoutMapper(out var graceEndMs) && (now >= graceEndMs || now < graceEndMs - MapperGraceMs))
        {
            var device = _withoutMapper.Dequeue().Device;
            device.AwaitsMapper = false;
            Orphan(device, NoMapper(device), now, outputs);
            if (device.IsChanged)
                Settle(device, now, outputs);
        }
    }

    private static void Orphan(DeviceEntry device, string problem, long now, List<TwinOutput> outputs)
    {
        // Once: a report that comes all the same says more of the device than this.
        if (!Say(device, MapperProblem, problem))
            return;
        device.IsChanged = true;
        if (device.Row.State is not ("offline" or "unknown"))
            SetState(device, "unknown", now, outputs);
    }

    private string NoMapper(DeviceEntry device) => $"no mapper of protocol {device.Protocol} is registered on node {NodeName}";

    private static string CallKey(bool isModel, string mapper) => $"{CallProblem}{(isModel ? "model" : "device")}/{mapper}";

    private static IEnumerable<MapperCall> Calls(DeviceEntry device)
        => [new MapperCall(true, device.ModelKey.Namespace, device.ModelKey.Name, device.Model), new MapperCall(false, device.Namespace, device.Name, device.Message)];

    private IEnumerable<string> MappersOf(string protocol) => _mappers.Where(pair => Same(pair.Value.Protocol, protocol)).Select(pair => pair.Key);
}
