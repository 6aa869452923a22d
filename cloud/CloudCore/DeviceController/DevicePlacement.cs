using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.DeviceController;

/// <summary>Which node should have which Devices and DeviceModels; pure, one caller at a time.</summary>
/// <remarks>
/// <para>A device goes to the node of spec.nodeName, once its model exists, the model first (kubeedge-wire §4.2). A desired value that breaks
/// the model stays here: the edge gets the last good one, or none.</para>
/// <para>What the edge gets depends on device and model, so it carries the higher of both versions, or the next one where that says something else already; a changed
/// model thus is not taken for stale.</para>
/// </remarks>
internal sealed class DevicePlacement
{
    private readonly Dictionary<(string Namespace, string Name), DeviceRecord> _devices = [];
    private readonly Dictionary<(string Namespace, string Name), ObjectBody> _models = [];
    private readonly Dictionary<string, Dictionary<(string, string), DeviceRecord>> _byNode = [];
    private readonly Dictionary<(string Namespace, string Name), Dictionary<(string, string), DeviceRecord>> _byModel = [];

    /// <summary>What the API says of the device; null where there is none.</summary>
    public DeviceFacts? Device(string @namespace, string name) => _devices.GetValueOrDefault((@namespace, name))?.Facts;

    /// <summary>What is wrong with the device, as far as it shows here.</summary>
    public IReadOnlyList<string> Problems(string @namespace, string name) => _devices.GetValueOrDefault((@namespace, name))?.Problems ?? [];

    /// <summary>Devices of the node with which something is wrong, as far as it shows here.</summary>
    public IEnumerable<(DeviceFacts Device, IReadOnlyList<string> Problems)> Complaints(string node)
        => _byNode.TryGetValue(node, out var devices) ? devices.Values.Where(record => record.Problems.Count > 0).Select(record => (record.Facts, record.Problems)) : [];

    /// <summary>Everything the node should have, models before devices.</summary>
    public IEnumerable<DownObject> All(string node)
    {
        if (!_byNode.TryGetValue(node, out var devices))
            yield break;
        foreach (var model in devices.Values.Where(record => record.Sent is not null).Select(record => record.Model!).DistinctBy(model => model.Uid))
            yield return OfModel(model, Operations.Insert);
        foreach (var record in devices.Values.Where(record => record.Sent is not null))
            yield return OfDevice(record, Operations.Insert);
    }

    /// <summary>The device or model as the node should have it, or null.</summary>
    public DownObject? Find(string node, ResourcePath path)
    {
        if (!_byNode.TryGetValue(node, out var devices))
            return null;
        if (path.Type == ResourceTypes.Device)
            return devices.TryGetValue((path.Namespace, path.Name), out var found) && found.Sent is not null ? OfDevice(found, Operations.Insert) : null;
        if (path.Type != ResourceTypes.DeviceModel || !_byModel.TryGetValue((path.Namespace, path.Name), out var users))
            return null;
        // Whichever is fewer: a node has some devices, a model may have those of a whole fleet.
        var user = users.Count < devices.Count
            ? users.Values.FirstOrDefault(record => record.Node == node && record.Sent is not null)
            : devices.Values.FirstOrDefault(record => record.ModelId == (path.Namespace, path.Name) && record.Sent is not null);
        return user is null ? null : OfModel(user.Model!, Operations.Insert);
    }

    /// <summary>The devices that the node should have.</summary>
    public IEnumerable<string> Paths(string node)
        => _byNode.TryGetValue(node, out var devices) ? devices.Values.Where(record => record.Sent is not null).Select(record => OfDevice(record, Operations.Insert).Resource) : [];

    public void ModelChanged(ObjectChange change, List<PlacementOutput> outputs)
    {
        var id = (change.Object.Namespace(), change.Object.Name());
        List<DeviceRecord> users = _byModel.TryGetValue(id, out var found) ? [.. found.Values] : [];
        if (change.Type == ChangeType.Deleted)
        {
            // The devices keep running at the edge with the model they have; the user is told.
            _models.Remove(id);
            foreach (var record in users)
                Miss(record, outputs);
            return;
        }

        var before = _models.GetValueOrDefault(id);
        var model = new ObjectBody(change.Text);
        _models[id] = model;
        if (before is not null && before.Version == model.Version)
            return;
        foreach (var user in users.Where(record => record.Sent is not null).DistinctBy(record => record.Node).ToList())
        {
            // Another model of the name: the one that the node has, or that is on its way there, must not come after it. It may have gone from here before.
            if (user.Model!.Uid != model.Uid)
                outputs.Add(new PlacementOutput.Deliver(user.Node, OfModel(user.Model, Operations.Delete, isFinal: true)));
            outputs.Add(new PlacementOutput.Deliver(user.Node, OfModel(model, Operations.Update)));
        }

        foreach (var record in users)
        {
            // Their nodes just got it.
            if (record.Sent is not null)
                record.Model = model;
            Place(record, outputs);
        }
    }

    public void DeviceChanged(ObjectChange change, List<PlacementOutput> outputs)
    {
        var device = change.Object;
        var id = (device.Namespace(), device.Name());
        var before = _devices.GetValueOrDefault(id);
        if (before is not null && change.Type != ChangeType.Deleted && before.Body.Version == device.Version() && before.Body.Version > 0)
            return;
        var isSame = before is not null && before.Facts.Uid == device.Uid();
        if (before is not null && (change.Type == ChangeType.Deleted || !isSame || before.Node != device.Text("spec", "nodeName")))
            Withdraw(before, change.Type == ChangeType.Deleted || !isSame, outputs);
        if (change.Type == ChangeType.Deleted)
        {
            Forget(id, before);
            return;
        }

        Replace(id, isSame ? before : null, device);
        var record = _devices[id];
        // A device whose status alone changed is the same to the edge.
        if (isSame && record.Sent is not null && JsonNode.DeepEquals(before!.Device["spec"], device["spec"]) && before.Device.IsDeleting() == device.IsDeleting())
            return;
        var model = record.Model;
        Place(record, outputs);
        if (model is not null && record.Model != model)
            DropModelIfUnused(record.Node, model, outputs);
    }

    private static (string, string) ModelIdOf(JsonObject device) => (device.Namespace(), device.Text("spec", "deviceModelRef", "name"));

    private void Replace((string, string) id, DeviceRecord? before, JsonObject device)
    {
        var model = ModelIdOf(device);
        var record = new DeviceRecord(device, model, before?.Facts ?? _byModel.GetValueOrDefault(model)?.Values.FirstOrDefault()?.Facts);
        if (before is not null)
        {
            foreach (var (property, value) in before.GoodDesired)
                record.GoodDesired[property] = value;
            record.Problems = before.Problems;
            if (before.Node == record.Node)
                (record.Sent, record.Model, record.Version) = (before.Sent, before.Model, before.Version);
        }

        Forget(id, _devices.GetValueOrDefault(id));
        _devices[id] = record;
        if (!_byModel.TryGetValue(record.ModelId, out var users))
            _byModel[record.ModelId] = users = [];
        users[id] = record;
        if (record.Node.Length == 0)
            return;
        if (!_byNode.TryGetValue(record.Node, out var devices))
            _byNode[record.Node] = devices = [];
        devices[id] = record;
    }

    private void Forget((string, string) id, DeviceRecord? record)
    {
        _devices.Remove(id);
        if (record is not null && _byModel.TryGetValue(record.ModelId, out var users) && users.Remove(id) && users.Count == 0)
            _byModel.Remove(record.ModelId);
    }

    // Sends the device as it should be at the edge, after its model where the node has not got that yet.
    private void Place(DeviceRecord record, List<PlacementOutput> outputs)
    {
        if (record.Node.Length == 0)
            return;
        if (!_models.TryGetValue(record.ModelId, out var model))
        {
            Miss(record, outputs);
            return;
        }

        var problems = DeviceChecks.Check(record.Device, model.Json);
        Complain(record, [.. problems.Select(problem => problem.Text)], outputs);
        foreach (var problem in problems)
            outputs.Add(new PlacementOutput.Warn(record.Device, problem.Reason, problem.Text));
        var isNew = record.Sent is null;
        var hasModel = HasModel(record.Node, model);
        record.Model = model;
        var sent = WithGoodDesired(record, problems);
        record.Version = NextVersion(record, model, sent);
        if (sent.At("metadata") is JsonObject metadata)
            metadata["resourceVersion"] = record.Version.ToString(System.Globalization.CultureInfo.InvariantCulture);
        record.Sent = new ObjectBody(sent);
        if (!hasModel)
            outputs.Add(new PlacementOutput.Deliver(record.Node, OfModel(model, Operations.Insert)));
        outputs.Add(new PlacementOutput.Deliver(record.Node, OfDevice(record, isNew ? Operations.Insert : Operations.Update)));
    }

    private bool HasModel(string node, ObjectBody model)
        => _byNode.TryGetValue(node, out var devices) && devices.Values.Any(record => record.Sent is not null && record.Model == model);

    // The two watches are not in step: a change of the device that is older than the model's may show after it. It then says something new under the version
    // that the edge has already, so it gets one of its own.
    private static long NextVersion(DeviceRecord record, ObjectBody model, JsonObject sent)
    {
        var version = Math.Max(record.Body.Version, model.Version);
        if (version > record.Version || record.Sent is null)
            return version;
        return new ObjectBody(sent).Fingerprint == record.Sent.Fingerprint ? record.Version : record.Version + 1;
    }

    private static JsonObject WithGoodDesired(DeviceRecord record, List<DeviceProblem> problems)
    {
        var sent = record.Device.DeepClone().AsObject();
        var bad = problems.Where(problem => problem.Property.Length > 0).Select(problem => problem.Property).ToHashSet();
        foreach (var property in sent.Items("spec", "properties"))
        {
            var name = property.Text("name");
            if (!bad.Contains(name))
            {
                if (property["desired"] is { } good)
                    record.GoodDesired[name] = good.ToJsonString();
                else
                    record.GoodDesired.Remove(name);
            }
            else if (record.GoodDesired.TryGetValue(name, out var last))
            {
                property["desired"] = JsonNode.Parse(last);
            }
            else
            {
                property.Remove("desired");
            }
        }

        return sent;
    }

    private void Withdraw(DeviceRecord record, bool isFinal, List<PlacementOutput> outputs)
    {
        var id = (record.Facts.Namespace, record.Facts.Name);
        if (_byNode.TryGetValue(record.Node, out var devices) && devices.Remove(id) && devices.Count == 0)
            _byNode.Remove(record.Node);
        if (record.Sent is null)
            return;
        outputs.Add(new PlacementOutput.Deliver(record.Node, OfDevice(record, Operations.Delete, isFinal)));
        record.Sent = null;
        DropModelIfUnused(record.Node, record.Model!, outputs);
    }

    private void DropModelIfUnused(string node, ObjectBody model, List<PlacementOutput> outputs)
    {
        var isUsed = _byNode.TryGetValue(node, out var devices) && devices.Values.Any(record => record.Sent is not null && record.Model!.Uid == model.Uid);
        if (!isUsed)
            outputs.Add(new PlacementOutput.Deliver(node, OfModel(model, Operations.Delete)));
    }

    private static void Miss(DeviceRecord record, List<PlacementOutput> outputs)
    {
        var text = $"DeviceModel '{record.ModelId.Name}' does not exist in namespace '{record.ModelId.Namespace}'; the device goes to node '{record.Node}' once it does";
        outputs.Add(new PlacementOutput.Warn(record.Device, DeviceChecks.ModelNotFound, text));
        Complain(record, [text], outputs);
    }

    private static void Complain(DeviceRecord record, IReadOnlyList<string> problems, List<PlacementOutput> outputs)
    {
        if (record.Problems.SequenceEqual(problems))
            return;
        record.Problems = problems;
        outputs.Add(new PlacementOutput.DeviceProblems(record.Node, record.Facts, problems));
    }

    private static DownObject OfModel(ObjectBody model, string operation, bool isFinal = false)
        => DownObject.Of(ResourceKind.DeviceModel, ResourceTypes.DeviceModel, operation, Sources.DeviceController, model, isFinal);

    private static DownObject OfDevice(DeviceRecord record, string operation, bool isFinal = false)
        => DownObject.Of(ResourceKind.Device, ResourceTypes.Device, operation, Sources.DeviceController, record.Sent!, isFinal, record.Version) with
        {
            Needs = operation == Operations.Delete ? null : new ResourcePath(record.ModelId.Namespace, ResourceTypes.DeviceModel, record.ModelId.Name).ToString(),
        };

    private sealed class DeviceRecord(JsonObject device, (string Namespace, string Name) modelId, DeviceFacts? alike)
    {
        public DeviceFacts Facts { get; } = DeviceFacts.Of(device, alike);

        /// <summary>The device as the API has it.</summary>
        public ObjectBody Body { get; } = new(device);

        /// <summary>As <see cref="Body"/> says it, read again where nobody holds it; not to be changed.</summary>
        public JsonObject Device => Body.Json;

        public string Node => Facts.Node;

        public (string Namespace, string Name) ModelId { get; } = modelId;

        /// <summary>The device as the edge should have it; null while it is not sent.</summary>
        public ObjectBody? Sent { get; set; }

        /// <summary>The model that went with <see cref="Sent"/>; it stays what the edge has when the model is deleted here.</summary>
        public ObjectBody? Model { get; set; }

        public long Version { get; set; }

        /// <summary>The last desired values that the model allowed, as JSON, by property.</summary>
        public Dictionary<string, string> GoodDesired { get; } = [];

        public IReadOnlyList<string> Problems { get; set; } = [];
    }
}
