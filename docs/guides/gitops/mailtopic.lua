-- Health of a MailTopic for Argo CD: resource.customizations.health.mailtopic.dev_MailTopic
local health = {status = "Progressing", message = "waiting for the operator"}
local status = obj.status
if status == nil or status.conditions == nil then return health end
local found = {}
for _, condition in ipairs(status.conditions) do
  -- What was found out about an older spec says nothing about this one.
  if condition.observedGeneration == nil or condition.observedGeneration >= obj.metadata.generation then
    found[condition.type] = condition
  end
end
local stalled, ready = found["Stalled"], found["Ready"]
if stalled ~= nil and stalled.status == "True" then
  return {status = "Degraded", message = stalled.message}
end
if ready == nil then return health end
if ready.status == "True" then return {status = "Healthy", message = ready.message} end
return {status = "Progressing", message = ready.message}
